//! The frames that a stream still holds.

use std::{collections::VecDeque, num::NonZeroUsize, time::Duration};

use tokio::time::Instant;

use crate::{
    stream::{Retention, Seq},
    wire::Frame,
};

/// Frames that producers may be ahead of the slowest shard: enough for full batches.
const MAX_PACE_FRAMES: usize = 1024;
/// Bytes that producers may be ahead of the slowest shard: what one write takes well.
const MAX_PACE_BYTES: usize = 256 * 1024;

/// How much one reading takes.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// Frames at most.
    pub frames: NonZeroUsize,
    /// Bytes at most, as they were encoded; one frame is always taken.
    pub bytes: usize,
}

/// Consecutive frames, taken from a stream.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The number of the first of them.
    pub first: Seq,
    /// They themselves.
    pub frames: Vec<Frame>,
}

impl Batch {
    /// The number after the last frame.
    #[must_use]
    pub fn end(&self) -> Seq {
        self.first + self.frames.len() as Seq
    }
}

#[derive(Debug)]
struct Entry {
    frame: Frame,
    /// Where it begins, in the stream's units.
    offset: u64,
    /// Bytes of all frames before it, in the stream's whole life.
    bytes_before: u64,
    at: Instant,
}

/// A bounded queue of frames; the old end gives way.
#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    /// The number of the oldest entry, or of the next frame if there is none.
    first: Seq,
    head_offset: u64,
    /// Where the frame that was dropped last began.
    dropped_offset: Option<u64>,
    /// Bytes of all frames in the stream's whole life.
    total_bytes: u64,
    retention: Retention,
    last_push: Instant,
}

/// What a position means to a ring.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The frame that comes next.
    At(Seq),
    /// The frames after it are gone, so many as is known.
    Gone { missed: Option<u64> },
}

impl Ring {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            head_offset: 0,
            dropped_offset: None,
            total_bytes: 0,
            retention,
            last_push: Instant::now(),
        }
    }

    pub(super) fn push(&mut self, frame: Frame, units: u64, now: Instant) {
        let (offset, bytes_before) = (self.head_offset, self.total_bytes);
        self.total_bytes += frame.plain().len() as u64;
        self.head_offset += units;
        self.last_push = now;
        self.entries.push_back(Entry { frame, offset, bytes_before, at: now });
        while self.entries.len() > 1
            && (self.entries.len() > self.retention.frames.get()
                || self.held_bytes() > self.retention.bytes.get() as u64)
        {
            self.drop_oldest();
        }
        self.expire(now);
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let Some(age) = self.retention.age else { return };
        while self.entries.front().is_some_and(|entry| now.duration_since(entry.at) > age) {
            self.drop_oldest();
        }
        if self.entries.is_empty() {
            self.entries.shrink_to_fit();
        }
    }

    /// How long ago the last frame came.
    pub(super) fn quiet_for(&self, now: Instant) -> Duration {
        now.duration_since(self.last_push)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of the next frame.
    pub(super) fn head(&self) -> Seq {
        self.first + self.entries.len() as Seq
    }

    /// The offset after the last frame.
    pub(super) fn head_offset(&self) -> u64 {
        self.head_offset
    }

    /// The number of the oldest frame that is still there.
    pub(super) fn oldest(&self) -> Seq {
        self.first
    }

    /// The offset where the frame `seq` begins.
    pub(super) fn offset_of(&self, seq: Seq) -> u64 {
        self.entry(seq).map_or(self.head_offset, |entry| entry.offset)
    }

    /// Finds the first frame that begins at or after `offset`.
    pub(super) fn locate(&self, offset: u64) -> Place {
        let index = self.entries.partition_point(|entry| entry.offset < offset);
        let begins = self.entries.get(index).map_or(self.head_offset, |entry| entry.offset);
        // A frame of no units that stood here may be gone, though the next one is there.
        if begins == offset && self.dropped_offset != Some(offset) {
            return Place::At(self.first + index as Seq);
        }
        // In an older frame, in the middle of one, or ahead of all: no frame begins there.
        let oldest = self.entries.front().map_or(self.head_offset, |entry| entry.offset);
        Place::Gone { missed: oldest.checked_sub(offset) }
    }

    /// Takes frames from `from` on; `false` if that frame is gone.
    pub(super) fn read(&self, from: Seq, limit: ReadLimit, batch: &mut Batch) -> bool {
        batch.frames.clear();
        batch.first = from;
        let Some(start) = from.checked_sub(self.first) else { return false };
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(self.entries.len());
        let mut bytes = 0;
        for entry in self.entries.range(start..).take(limit.frames.get()) {
            bytes += entry.frame.plain().len();
            if bytes > limit.bytes && !batch.frames.is_empty() {
                break;
            }
            batch.frames.push(entry.frame.clone());
        }
        true
    }

    /// Whether a producer may go on when the slowest follower took all before `taken`.
    ///
    /// At most half of the ring is ever untaken, so pacing alone never loses a frame.
    pub(super) fn has_room(&self, taken: Seq) -> bool {
        let frames = (self.retention.frames.get() / 2).clamp(1, MAX_PACE_FRAMES);
        let bytes = (self.retention.bytes.get() / 2).clamp(1, MAX_PACE_BYTES);
        let behind = self.head().saturating_sub(taken);
        let taken_bytes = self.entry(taken.max(self.first)).map(|entry| entry.bytes_before);
        let untaken_bytes = self.total_bytes - taken_bytes.unwrap_or(self.total_bytes);
        behind < frames as u64 && untaken_bytes < bytes as u64
    }

    fn entry(&self, seq: Seq) -> Option<&Entry> {
        self.entries.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    fn held_bytes(&self) -> u64 {
        self.total_bytes - self.entries.front().map_or(self.total_bytes, |e| e.bytes_before)
    }

    fn drop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.dropped_offset = Some(entry.offset);
            self.first += 1;
        }
    }
}
