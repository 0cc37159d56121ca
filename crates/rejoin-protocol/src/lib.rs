//! The wire protocol of rejoin: ids, positions, messages, codes, limits.
//!
//! The crate contains no async code and no I/O, so servers, clients and tests can share it.

pub mod binary;
pub mod code;
mod connection;
pub mod id;
pub mod limits;
pub mod message;
mod position;
#[cfg(feature = "openapi")]
mod schema;
mod session;
mod subject;

pub use code::{CloseCode, ErrorCode};
pub use connection::ConnectionInfo;
pub use id::{
    ConnectionId, DeviceId, DeviceName, EventName, InvalidId, MessageId, ProfileName, RequestKey,
    SessionId, TopicName, UserId, WriterId,
};
pub use position::{InvalidPosition, Position};
pub use session::{
    Exit, Role, SessionInfo, SessionKind, SessionStatus, Signal, StreamNumber, TerminalSize,
    Verdict,
};
pub use subject::Subject;

/// The WebSocket subprotocol of this protocol version.
pub const SUBPROTOCOL: &str = "rejoin.v1";
