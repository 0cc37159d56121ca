//! The HTTP and WebSocket server of rejoin, to run or to embed.
//!
//! ```no_run
//! # async fn example(hub: rejoin_core::Hub) -> Result<(), Box<dyn std::error::Error>> {
//! use rejoin_gateway::{Gateway, GatewayConfig, Signer};
//!
//! let signer = Signer::hs256(b"at least thirty-two bytes of secret")?;
//! let gateway = Gateway::new(hub, GatewayConfig::new(signer.verifier()));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! gateway.serve(listener).await?;
//! # Ok(())
//! # }
//! ```

mod accept;
mod address_limit;
mod config;
mod credentials;
mod endpoint;
mod gateway;
mod gcra;
mod handler;
mod host;
mod http;
mod log;
mod metrics;
mod origin;
mod peer;
mod pending;
mod problem;
mod response_cache;
mod shard;
mod socket;
mod state;
mod tls;
mod transport;

use bytes::Bytes;
pub use rejoin_auth::{
    Audience, BrowserSessionError, BrowserSessions, Claims, HeldTicket, InvalidKey, JwksUrl,
    LoginCodes, Revocation, RevocationError, Revocations, Signer, Target, Ticket, TicketError,
    Tickets, TokenError, TokenRules, Verifier,
};
pub use rejoin_webhook::{
    EventKind, Webhook, WebhookError, WebhookEvents, WebhookMessages, WebhookMetrics,
    WebhookSecret, WebhookUrl,
};

pub use config::GatewayConfig;
pub use gateway::{Gateway, HandlerExists};
pub use gcra::{Rate, Rates};
pub use handler::{MessageHandler, Reply};
pub use http::{FindPage, Page};
pub use metrics::GatewayMetrics;
pub use peer::{InvalidProxy, Peer, TrustedProxies};
pub use state::Readiness;
pub use tls::{Tls, TlsConfig, TlsError};

/// Compresses a snapshot outside the I/O threads, for [`rejoin_core::HubConfig`].
///
/// Only useful if [`GatewayConfig::compression`] is `true`.
pub fn prepare(frame: &rejoin_core::Frame) {
    shard::prepare(frame);
}

/// Encodes a frame as one WebSocket message (RFC 6455 §5.2), for [`rejoin_core::HubConfig`].
#[must_use]
pub fn encode(kind: rejoin_core::PayloadKind, parts: &[&[u8]]) -> Bytes {
    let kind = match kind {
        rejoin_core::PayloadKind::Text => rejoin_websocket::MessageKind::Text,
        rejoin_core::PayloadKind::Binary => rejoin_websocket::MessageKind::Binary,
    };
    rejoin_websocket::encode(kind, parts)
}
