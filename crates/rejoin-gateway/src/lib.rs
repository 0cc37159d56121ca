//! The HTTP and WebSocket server of rejoin, to run or to embed.
//!
//! ```no_run
//! # async fn example(hub: rejoin_core::Hub) -> Result<(), Box<dyn std::error::Error>> {
//! use rejoin_gateway::{Gateway, GatewayConfig, TokenKey};
//!
//! let key = TokenKey::hs256(b"at least thirty-two bytes of secret")?;
//! let gateway = Gateway::new(hub, GatewayConfig::new(key));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! gateway.serve(listener).await?;
//! # Ok(())
//! # }
//! ```

mod accept;
mod gateway;
mod handler;
mod http;
mod net;
mod shard;
mod socket;
mod token;

pub use gateway::{Gateway, GatewayConfig, HandlerExists};
pub use handler::{MessageHandler, Reply};
pub use http::{FindPage, Page};
pub use shard::{Counts, Dropped};
pub use token::{Claims, InvalidKey, TokenError, TokenKey, TokenRules};

use bytes::Bytes;

/// Lays out a frame as one WebSocket message (RFC 6455 §5.2), for [`rejoin_core::HubConfig`].
#[must_use]
pub fn encode(kind: rejoin_core::Kind, parts: &[&[u8]]) -> Bytes {
    let kind = match kind {
        rejoin_core::Kind::Text => rejoin_websocket::Kind::Text,
        rejoin_core::Kind::Binary => rejoin_websocket::Kind::Binary,
    };
    rejoin_websocket::encode(kind, parts)
}
