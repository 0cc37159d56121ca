//! Streams of another process.

use std::time::Duration;

use bytes::Bytes;
use rejoin_protocol::Position;
use tokio::time::Instant;

/// A stream with its retained frames, each a text of one unit.
#[derive(Clone, Debug)]
pub(crate) struct SavedStream {
    /// The position after the last frame.
    pub(crate) head: Position,
    /// The retained frames, oldest first.
    pub(crate) frames: Vec<SavedFrame>,
}

/// A retained frame. The next process encodes it again.
#[derive(Clone, Debug)]
pub(crate) struct SavedFrame {
    /// The age, in milliseconds.
    pub(crate) age_ms: u64,
    /// The text.
    pub(crate) payload: Bytes,
}

impl SavedStream {
    /// Returns a stream without frames.
    pub(crate) fn new(epoch: u64) -> Self {
        let head = Position { epoch, offset: 0 };
        Self { head, frames: Vec::new() }
    }

    /// Appends the frame before `position`. It drops the earlier ones unless it follows them.
    pub(crate) fn append(&mut self, position: Position, frame: SavedFrame) {
        if self.head.epoch != position.epoch || self.head.offset + 1 != position.offset {
            self.frames.clear();
        }

        self.head = position;
        self.frames.push(frame);
    }

    /// Sets the head. It drops the frames unless the stream ends there.
    pub(crate) fn end_at(&mut self, head: Position) {
        if self.head != head {
            self.frames.clear();
        }

        self.head = head;
    }
}

/// Returns the milliseconds since `at`.
pub(crate) fn age_ms(at: Instant) -> u64 {
    u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Returns the instant `age_ms` ago; now if the clock does not reach back so far.
pub(crate) fn instant(age_ms: u64) -> Instant {
    let now = Instant::now();
    // A monotonic clock may have started after the saved time.
    now.checked_sub(Duration::from_millis(age_ms)).unwrap_or(now)
}
