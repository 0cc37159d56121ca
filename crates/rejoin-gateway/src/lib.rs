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
mod browser_session;
mod durable;
mod endpoint;
mod gateway;
mod gcra;
mod handler;
mod http;
mod log;
mod login_code;
mod outgoing;
mod peer;
mod pending;
mod revocation;
mod secret;
mod shard;
mod socket;
mod ticket;
mod tls;
mod token;
mod transport;
mod webhook;

pub use browser_session::{BrowserSessionError, BrowserSessions};
pub use gateway::{Gateway, GatewayConfig, HandlerExists, Readiness};
pub use gcra::{Rate, Rates};
pub use handler::{MessageHandler, Reply};
pub use http::{FindPage, Page};
pub use login_code::LoginCodes;
pub use peer::{InvalidProxy, Peer, TrustedProxies};
pub use revocation::{Revocation, RevocationError, Revocations, Target};
pub use ticket::{HeldTicket, Ticket, Tickets, TooMany};
pub use tls::{Tls, TlsConfig, TlsError};
pub use token::{Audience, Claims, InvalidKey, JwksUrl, Signer, TokenError, TokenRules, Verifier};
pub use webhook::{
    EventKind, Webhook, WebhookError, WebhookEvents, WebhookMessages, WebhookSecret, WebhookUrl,
};

use bytes::Bytes;

/// Compresses a snapshot away from the threads of sockets, for [`rejoin_core::HubConfig`].
///
/// Worth it where [`GatewayConfig::compression`] is on.
pub fn prepare(frame: &rejoin_core::Frame) {
    shard::prepare(frame);
}

/// Lays out a frame as one WebSocket message (RFC 6455 §5.2), for [`rejoin_core::HubConfig`].
#[must_use]
pub fn encode(kind: rejoin_core::Kind, parts: &[&[u8]]) -> Bytes {
    let kind = match kind {
        rejoin_core::Kind::Text => rejoin_websocket::Kind::Text,
        rejoin_core::Kind::Binary => rejoin_websocket::Kind::Binary,
    };
    rejoin_websocket::encode(kind, parts)
}
