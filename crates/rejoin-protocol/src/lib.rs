//! The words of rejoin and their bytes: ids, positions, messages, codes, limits.
//!
//! Nothing here knows async or I/O, so that a client, a server and a test can share it.

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

/// The WebSocket subprotocol of this version.
pub const SUBPROTOCOL: &str = "rejoin.v1";
