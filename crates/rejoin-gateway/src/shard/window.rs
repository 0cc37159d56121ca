//! The send window of a reader, which bounds the bytes sent ahead of acknowledgements.

use rejoin_core::Frame;
use rejoin_protocol::message::Window;

/// The flow control of one reader. A reader without a window is not limited.
///
/// The limit is boxed, because a broadcast walks all readers and few have a window.
#[derive(Clone, Debug)]
pub(super) struct SendWindow(Option<Box<Limit>>);

/// The bytes of binary messages that a reader has sent, and the number of bytes that it may send.
/// Both count from the attach.
#[derive(Clone, Debug)]
struct Limit {
    sent: u64,
    allowed: u64,
    /// The size of the window, in bytes.
    size: u32,
}

/// An invalid acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidAck {
    #[error("the attachment has no `window`; name one in `attach` to acknowledge output")]
    NoWindow,
    #[error("an acknowledgement may count at most the {sent} bytes that were sent")]
    NotSent { sent: u64 },
}

impl SendWindow {
    /// Creates a window in which a preamble counts as sent.
    pub(super) fn new(window: Option<Window>, preamble: &[Frame]) -> Self {
        Self(window.map(|window| {
            let size = window.bytes();
            Box::new(Limit { sent: binary_bytes(preamble), allowed: u64::from(size), size })
        }))
    }

    /// Returns `true` if the reader has a window.
    pub(super) fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Returns `true` if this many more bytes may be sent.
    pub(super) fn admits(&self, bytes: u64) -> bool {
        self.0.as_ref().is_none_or(|limit| limit.sent + bytes <= limit.allowed)
    }

    /// Returns `true` if less than half of the window is unacknowledged.
    ///
    /// One frame or snapshot of any size may then be sent. A client may leave a quarter of the
    /// window unacknowledged forever, so a frame that exceeds the rest would otherwise wait
    /// forever.
    pub(super) fn is_half_free(&self) -> bool {
        // One byte more than half, because exactly half is not less than half.
        let half = self.0.as_ref().map_or(0, |limit| u64::from(limit.size / 2) + 1);
        self.admits(half)
    }

    /// Returns the number of these frames that may be sent now.
    pub(super) fn fit(&self, frames: &[Frame]) -> usize {
        let mut bytes = 0;
        let fitting = frames.iter().take_while(|frame| {
            bytes += frame.binary_bytes();
            self.admits(bytes)
        });

        let count = fitting.count();
        // A frame that is larger than the window must not stall the stream.
        if self.is_half_free() { count.max(1).min(frames.len()) } else { count }
    }

    /// Records bytes of binary messages as sent.
    pub(super) fn record_sent(&mut self, bytes: u64) {
        if let Some(limit) = &mut self.0 {
            limit.sent += bytes;
        }
    }

    /// Subtracts bytes that were recorded as sent but were not sent.
    pub(super) fn take_back(&mut self, bytes: u64) {
        if let Some(limit) = &mut self.0 {
            limit.sent -= bytes;
        }
    }

    /// Moves the window past the first `parsed` bytes. An outdated count changes nothing.
    ///
    /// # Errors
    /// If the attachment has no window, or if fewer bytes were sent.
    pub(super) fn acknowledge(&mut self, parsed: u64) -> Result<(), InvalidAck> {
        let Some(limit) = &mut self.0 else { return Err(InvalidAck::NoWindow) };

        // A higher count would move the window ahead of the data and disable flow control.
        if parsed > limit.sent {
            return Err(InvalidAck::NotSent { sent: limit.sent });
        }

        limit.allowed = limit.allowed.max(parsed + u64::from(limit.size));
        Ok(())
    }
}

/// Returns the total size of the binary messages among these frames, in bytes.
pub(super) fn binary_bytes(frames: &[Frame]) -> u64 {
    frames.iter().map(Frame::binary_bytes).sum()
}
