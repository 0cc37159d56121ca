//! The limits of the protocol.

/// The longest `id` of a message, in bytes; the server echoes it as `reply_to`.
pub const MAX_MESSAGE_ID_BYTES: usize = 64;
/// The longest topic name, in bytes.
pub const MAX_TOPIC_BYTES: usize = 128;
/// The longest user id (the token's `sub`), in bytes.
pub const MAX_USER_ID_BYTES: usize = 128;
/// The longest id of a connection, session, device or writer, in bytes.
pub const MAX_ID_BYTES: usize = 64;
/// The longest device name, in bytes.
pub const MAX_DEVICE_NAME_BYTES: usize = 100;
/// The longest idempotency key, in bytes.
pub const MAX_KEY_BYTES: usize = 128;
/// The longest event name, in bytes.
pub const MAX_EVENT_BYTES: usize = 64;
/// The most members that a presence state lists; all members are counted.
pub const MAX_LISTED_MEMBERS: usize = 1000;
/// The longest profile name, in bytes.
pub const MAX_PROFILE_BYTES: usize = 32;
/// The longest session name, in bytes.
pub const MAX_SESSION_NAME_BYTES: usize = 100;
/// The widest terminal, in columns.
pub const MAX_COLS: u16 = 1000;
/// The tallest terminal, in rows.
pub const MAX_ROWS: u16 = 500;
/// The most lines of a page of a terminal's history.
pub const MAX_HISTORY_LINES: u16 = 1000;
/// The number of lines of a page if the request names none.
pub const DEFAULT_HISTORY_LINES: u16 = 200;
/// The most bytes that draw a page of a terminal's history, before they become JSON.
pub const MAX_HISTORY_BYTES: usize = 64 * 1024;
/// The least bytes that a window of an attachment may have.
pub const MIN_WINDOW_BYTES: u32 = 16 * 1024;
/// The most bytes that a window of an attachment may have: what a stuck viewer costs.
pub const MAX_WINDOW_BYTES: u32 = 256 * 1024;
/// The default limit of one WebSocket message from a client, in bytes.
pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 65_536;
/// The longest error message, in bytes.
///
/// An error message may quote the request, so it is cut to bound the reply.
pub const MAX_ERROR_BYTES: usize = 512;
