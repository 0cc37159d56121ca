//! How payloads become bytes on the wire, which core leaves to the gateway.

use bytes::Bytes;

/// Whether a message is text or binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// Lays parts one after another as one message, framed for the wire.
///
/// Called once for each frame, whatever the number of its readers.
pub type Encode = fn(Kind, &[&[u8]]) -> Bytes;
