//! The window of a reader: the bytes sent ahead of the client's acknowledgements.

use rejoin_core::Frame;
use rejoin_protocol::message::Window;

/// The flow control of one reader. A reader without a window is not limited.
///
/// Boxed, because a broadcast walks all readers and few have a window.
#[derive(Clone, Debug)]
pub(super) struct SendWindow(Option<Box<Limit>>);

/// The bytes of binary messages that one reader has sent, and the count up to which it may send.
/// Both count from the attach.
#[derive(Clone, Debug)]
struct Limit {
    sent: u64,
    allowed: u64,
    /// The size of the window, in bytes.
    size: u32,
}

/// An acknowledgement that cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidAck {
    #[error("the attachment has no `window`; name one in `attach` to acknowledge output")]
    NoWindow,
    #[error("an acknowledgement may count at most the {sent} bytes that were sent")]
    NotSent { sent: u64 },
}

impl SendWindow {
    /// Creates a window from which a preamble is already sent.
    pub(super) fn new(window: Option<Window>, preamble: &[Frame]) -> Self {
        Self(window.map(|window| {
            let size = window.bytes();
            Box::new(Limit { sent: binary_bytes(preamble), allowed: u64::from(size), size })
        }))
    }

    /// Returns `true` if the client acknowledges what it has parsed.
    pub(super) fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Returns `true` if this many bytes may be sent.
    pub(super) fn admits(&self, bytes: u64) -> bool {
        self.0.as_ref().is_none_or(|limit| limit.sent + bytes <= limit.allowed)
    }

    /// Returns `true` if less than half of the window is unacknowledged.
    ///
    /// A client may keep a quarter of the window unacknowledged for ever, so one frame or snapshot
    /// of any size may then be sent. Otherwise one that exceeds the rest would wait for ever.
    pub(super) fn is_half_free(&self) -> bool {
        // One more than half, because exactly half is not less than half.
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
        // A frame that is larger than the window must not stop the stream.
        if self.is_half_free() { count.max(1).min(frames.len()) } else { count }
    }

    /// Counts bytes of binary messages that were sent.
    pub(super) fn record_sent(&mut self, bytes: u64) {
        if let Some(limit) = &mut self.0 {
            limit.sent += bytes;
        }
    }

    /// Counts bytes less that were recorded as sent and were not.
    pub(super) fn take_back(&mut self, bytes: u64) {
        if let Some(limit) = &mut self.0 {
            limit.sent -= bytes;
        }
    }

    /// Moves the window after `parsed` bytes. An older count changes nothing.
    ///
    /// # Errors
    /// If the attachment has no window, or the client cannot have parsed as much.
    pub(super) fn acknowledge(&mut self, parsed: u64) -> Result<(), InvalidAck> {
        let Some(limit) = &mut self.0 else { return Err(InvalidAck::NoWindow) };

        // Too high a count would move the window ahead of the data and end the flow control.
        if parsed > limit.sent {
            return Err(InvalidAck::NotSent { sent: limit.sent });
        }

        limit.allowed = limit.allowed.max(parsed + u64::from(limit.size));
        Ok(())
    }
}

/// Returns the size of the binary messages among frames, in bytes.
pub(super) fn binary_bytes(frames: &[Frame]) -> u64 {
    frames.iter().map(Frame::binary_bytes).sum()
}
