//! The bounds of the protocol, in one place.

/// Longest `id` of a message, in bytes; it is echoed as `reply_to`.
pub const MAX_MESSAGE_ID_BYTES: usize = 64;
/// Longest name of a topic, in bytes.
pub const MAX_TOPIC_BYTES: usize = 128;
/// Longest user id (`sub` of the token), in bytes.
pub const MAX_USER_ID_BYTES: usize = 128;
/// Longest id of a connection, session, device or writer, in bytes.
pub const MAX_ID_BYTES: usize = 64;
/// Longest name of a device, in bytes.
pub const MAX_DEVICE_NAME_BYTES: usize = 100;
/// Longest `key` that makes a retry harmless, in bytes.
pub const MAX_KEY_BYTES: usize = 128;
/// Longest name of an event that is emitted, in bytes.
pub const MAX_EVENT_BYTES: usize = 64;
/// Members that one answer about presence lists; more are only counted.
pub const MAX_LISTED_MEMBERS: usize = 1000;
/// Longest name of a profile, in bytes.
pub const MAX_PROFILE_BYTES: usize = 32;
/// Longest name that a person gives to a session, in bytes.
pub const MAX_SESSION_NAME_BYTES: usize = 100;
/// Widest terminal, in columns.
pub const MAX_COLS: u16 = 1000;
/// Tallest terminal, in rows.
pub const MAX_ROWS: u16 = 500;
/// Default bound on one WebSocket message from a client, in bytes.
pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 65_536;
/// Longest sentence of an error, in bytes; what it repeats of a request is cut.
pub const MAX_ERROR_BYTES: usize = 512;
