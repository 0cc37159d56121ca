//! The frames that a stream still holds.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::stream::{Retention, Seq};

/// Frames that producers may be ahead of the slowest shard: enough for full batches.
const MAX_PACE_FRAMES: usize = 1024;
/// Bytes that producers may be ahead of the slowest shard: what one write takes well.
const MAX_PACE_BYTES: usize = 256 * 1024;

/// How much one reading takes.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// Frames at most.
    pub frames: NonZeroUsize,
    /// Bytes at most; one frame is always taken.
    pub bytes: usize,
}

/// Consecutive frames, taken from a stream.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The number of the first of them.
    pub first: Seq,
    /// Their bytes.
    pub frames: Vec<Bytes>,
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
    wire: Bytes,
    /// Where it begins, in the stream's units.
    offset: u64,
    /// Bytes of all frames before it, in the stream's whole life.
    bytes_before: u64,
    at: Instant,
}

/// Bytes that several rings may hold together; the ring that is pushed to gives way.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    /// Exactly what the rings hold: changed with each frame that comes or goes.
    held: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicU64::new(0) })
    }

    fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    fn is_exceeded(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.limit
    }
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
    /// Shared with other rings, if their sum is bounded, too.
    budget: Option<Arc<Budget>>,
    last_use: Instant,
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
    pub(super) fn new(retention: Retention, budget: Option<Arc<Budget>>) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            head_offset: 0,
            dropped_offset: None,
            total_bytes: 0,
            retention,
            budget,
            last_use: Instant::now(),
        }
    }

    pub(super) fn push(&mut self, wire: Bytes, units: u64, now: Instant) {
        let entry =
            Entry { offset: self.head_offset, bytes_before: self.total_bytes, at: now, wire };
        self.total_bytes += entry.wire.len() as u64;
        self.head_offset += units;
        self.last_use = now;
        if let Some(budget) = &self.budget {
            budget.add(entry.wire.len());
        }
        self.entries.push_back(entry);
        while self.entries.len() > 1
            && (self.entries.len() > self.retention.frames.get()
                || self.held_bytes() > self.retention.bytes.get() as u64
                || self.budget.as_ref().is_some_and(|budget| budget.is_exceeded()))
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

    /// Looks for a reader, who is told a position and may come back with it.
    pub(super) fn begin(&mut self, now: Instant) {
        self.expire(now);
        self.last_use = now;
    }

    /// Notes that somebody has stopped to follow, and may come back.
    pub(super) fn unfollow(&mut self, now: Instant) {
        self.last_use = now;
    }

    /// How long ago the last frame came, a reader began, or the last follower left.
    pub(super) fn quiet_for(&self, now: Instant) -> Duration {
        now.duration_since(self.last_use)
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
            bytes += entry.wire.len();
            if bytes > limit.bytes && !batch.frames.is_empty() {
                break;
            }
            batch.frames.push(entry.wire.clone());
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
            if let Some(budget) = &self.budget {
                budget.give_back(entry.wire.len());
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.give_back(self.entries.iter().map(|entry| entry.wire.len()).sum());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Nothing is dropped without a push, so the newest frame of each ring may stay.
    #[derive(Clone, Debug)]
    enum Step {
        Push { ring: usize, bytes: usize },
        Wait { seconds: u64 },
        Forget { ring: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..4usize, 0..600usize).prop_map(|(ring, bytes)| Step::Push { ring, bytes }),
            1 => (1..40u64).prop_map(|seconds| Step::Wait { seconds }),
            1 => (0..4usize).prop_map(|ring| Step::Forget { ring }),
        ]
    }

    fn retention() -> Retention {
        let [frames, bytes] = [6, 2000].map(|n| NonZeroUsize::new(n).expect("not zero"));
        Retention { frames, bytes, age: Some(Duration::from_secs(60)) }
    }

    proptest! {
        #[test]
        fn a_budget_is_at_all_times_the_sum_of_what_its_rings_hold(
            steps in prop::collection::vec(step(), 1..120),
        ) {
            const LIMIT: u64 = 3000;
            let budget = Budget::new(LIMIT);
            let new = || Ring::new(retention(), Some(Arc::clone(&budget)));
            let mut rings: [Ring; 4] = std::array::from_fn(|_| new());
            let mut now = Instant::now();
            for step in steps {
                match step {
                    Step::Push { ring, bytes } => {
                        let ring = &mut rings[ring];
                        ring.push(vec![0; bytes].into(), 1, now);
                        prop_assert!(!budget.is_exceeded() || ring.entries.len() == 1);
                        prop_assert!(!ring.entries.is_empty());
                    }
                    Step::Wait { seconds } => {
                        now += Duration::from_secs(seconds);
                        rings.iter_mut().for_each(|ring| ring.expire(now));
                    }
                    Step::Forget { ring } => rings[ring] = new(),
                }
                let held = rings.iter().map(Ring::held_bytes).sum::<u64>();
                prop_assert_eq!(budget.held.load(Ordering::Relaxed), held);
            }
            drop(rings);
            prop_assert_eq!(budget.held.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn without_a_push_to_it_a_ring_keeps_what_it_has() {
        let budget = Budget::new(100);
        let [mut one, mut other] =
            [(); 2].map(|()| Ring::new(retention(), Some(Arc::clone(&budget))));
        let now = Instant::now();
        one.push(vec![0; 60].into(), 1, now);
        one.push(vec![0; 30].into(), 1, now);
        other.push(vec![0; 20].into(), 1, now);
        assert_eq!((one.entries.len(), other.entries.len()), (2, 1));
        one.push(vec![0; 1].into(), 1, now);
        assert_eq!((one.oldest(), one.head()), (1, 3));
    }
}
