//! A frame: one message, encoded once and shared by all its readers.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The kind of a message's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// Encodes one message for the wire; its payload is `parts`, concatenated.
///
/// The payload must be the tail of the result. Called once per frame, regardless of the number of
/// readers.
pub type Encode = fn(PayloadKind, &[&[u8]]) -> Bytes;

/// An encoding of a frame. Each connection reads one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrameEncoding {
    /// The result of [`Encode`].
    #[default]
    Plain,
    /// Compressed, for connections that negotiated it.
    Compressed,
    /// Only the bytes that a terminal printed, for clients without our protocol.
    Raw,
}

impl FrameEncoding {
    /// All encodings.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Compressed, Self::Raw];
}

/// Encodes a frame in another encoding. An empty result is not sent.
pub type Transcode = fn(&Frame, FrameEncoding) -> Bytes;

/// Computes the other encodings of a large frame, off the I/O threads.
pub type Prepare = fn(&Frame);

/// A handle to an encoded message.
#[derive(Clone)]
pub struct Frame {
    shared: Arc<Shared>,
}

struct Shared {
    kind: PayloadKind,
    plain: Bytes,
    /// The index of the first payload byte in `plain`.
    payload_start: usize,
    /// The compressed and the raw encoding. Allocated on first use: most frames have readers of
    /// the plain encoding only.
    transcoded: OnceLock<Box<[OnceLock<Bytes>; 2]>>,
}

impl Frame {
    /// Encodes a message whose payload is `parts`, concatenated.
    #[must_use]
    pub fn new(encode: Encode, kind: PayloadKind, parts: &[&[u8]]) -> Self {
        let plain = encode(kind, parts);
        let payload_len: usize = parts.iter().map(|part| part.len()).sum();
        // The payload is the tail, so its start needs no parser.
        let payload_start = plain.len().saturating_sub(payload_len);

        let shared = Shared { kind, plain, payload_start, transcoded: OnceLock::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the kind of the payload.
    #[must_use]
    pub fn kind(&self) -> PayloadKind {
        self.shared.kind
    }

    /// Returns the plain encoding.
    #[must_use]
    pub fn plain(&self) -> &Bytes {
        &self.shared.plain
    }

    /// Returns the payload, without the framing. Does not copy.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.shared.plain.slice(self.shared.payload_start..)
    }

    /// Returns the size of a binary message's payload, in bytes; 0 for a text message.
    #[must_use]
    pub fn binary_bytes(&self) -> u64 {
        match self.shared.kind {
            PayloadKind::Text => 0,
            PayloadKind::Binary => (self.shared.plain.len() - self.shared.payload_start) as u64,
        }
    }

    /// Returns the bytes in `encoding`, computed once.
    ///
    /// Concurrent callers block until the bytes are ready. All calls must pass the same
    /// `transcode`.
    #[must_use]
    pub fn encoded(&self, encoding: FrameEncoding, transcode: Transcode) -> &Bytes {
        // The plain encoding exists already.
        let index = match encoding {
            FrameEncoding::Plain => return self.plain(),
            FrameEncoding::Compressed => 0,
            FrameEncoding::Raw => 1,
        };
        let transcoded = self.shared.transcoded.get_or_init(Box::default);
        transcoded[index].get_or_init(|| transcode(self, encoding))
    }

    /// Returns `true` if `bytes` is a part of this frame's memory, in any encoding.
    #[must_use]
    pub fn contains(&self, bytes: &Bytes) -> bool {
        let transcoded = self.shared.transcoded.get().into_iter().flat_map(|all| all.iter());
        let mut encodings = transcoded.filter_map(OnceLock::get).chain([self.plain()]);

        // By address: a sent part is cut off from the front of `bytes`.
        encodings.any(|whole| whole.as_ptr_range().contains(&bytes.as_ptr()))
    }

    /// Returns `true` if both are handles to one frame.
    #[must_use]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Returns `true` if another handle to the frame or to its bytes exists.
    #[must_use]
    pub(crate) fn is_shared(&self) -> bool {
        let mut transcoded = self.shared.transcoded.get().into_iter().flat_map(|all| all.iter());

        // A connection that waits for its socket holds the bytes, not the frame.
        Arc::strong_count(&self.shared) > 1
            || !self.shared.plain.is_unique()
            || transcoded.any(|bytes| bytes.get().is_some_and(|bytes| !bytes.is_unique()))
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("kind", &self.kind())
            .field("bytes", &self.plain().len())
            .finish()
    }
}
