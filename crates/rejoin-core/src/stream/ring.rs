//! The frames that a stream still holds.

use std::{collections::VecDeque, num::NonZeroUsize, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    saved::{SavedFrame, SavedStream, age_ms, instant},
    stream::{Retention, Seq, budget::Budget},
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

    /// Takes over another life, whose frames are of one unit each.
    pub(super) fn restore(&mut self, saved: &SavedStream) {
        self.head_offset = saved.head.saturating_sub(saved.frames.len() as u64);
        for SavedFrame { age_ms, wire } in &saved.frames {
            self.push(wire.clone().into(), 1, instant(*age_ms));
        }
        self.last_use = instant(saved.quiet_ms);
    }

    /// The head, how long ago the last frame was, and what is held.
    pub(super) fn save(&self) -> (u64, u64, Vec<SavedFrame>) {
        let frames = self.entries.iter().map(|entry| {
            let (age_ms, wire) = (age_ms(entry.at), entry.frame.plain().clone());
            SavedFrame { age_ms, wire }
        });
        (self.head_offset, age_ms(self.last_use), frames.collect())
    }

    pub(super) fn push(&mut self, frame: Frame, units: u64, now: Instant) {
        let (offset, bytes_before) = (self.head_offset, self.total_bytes);
        self.total_bytes += frame.plain().len() as u64;
        self.head_offset += units;
        self.last_use = now;
        if let Some(budget) = &self.budget {
            budget.add(frame.plain().len());
        }
        self.entries.push_back(Entry { frame, offset, bytes_before, at: now });
        while self.entries.len() > 1
            && (self.entries.len() > self.retention.frames.get()
                || self.held_bytes() > self.retention.bytes.get() as u64
                || self.budget.as_ref().is_some_and(|budget| budget.is_exceeded()))
        {
            self.drop_oldest();
        }
        self.expire(now);
    }

    /// Drops all frames.
    pub(super) fn clear(&mut self) {
        while !self.entries.is_empty() {
            self.drop_oldest();
        }
        self.entries.shrink_to_fit();
    }

    /// The budget, if the rings that share it hold too much together.
    pub(super) fn exceeded_budget(&self) -> Option<Arc<Budget>> {
        self.budget.as_ref().filter(|budget| budget.is_exceeded()).cloned()
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
            if let Some(budget) = &self.budget {
                budget.give_back(entry.frame.plain().len());
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.give_back(self.entries.iter().map(|entry| entry.frame.plain().len()).sum());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use bytes::Bytes;

    use super::*;

    /// A ring drops nothing without a push to it, so the newest frame of each ring may stay.
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
                        ring.push(Bytes::from(vec![0; bytes]).into(), 1, now);
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
                prop_assert_eq!(budget.held(), held);
            }
            drop(rings);
            prop_assert_eq!(budget.held(), 0);
        }
    }

    #[test]
    fn without_a_push_to_it_a_ring_keeps_what_it_has() {
        let budget = Budget::new(100);
        let [mut one, mut other] =
            [(); 2].map(|()| Ring::new(retention(), Some(Arc::clone(&budget))));
        let now = Instant::now();
        one.push(Bytes::from(vec![0; 60]).into(), 1, now);
        one.push(Bytes::from(vec![0; 30]).into(), 1, now);
        other.push(Bytes::from(vec![0; 20]).into(), 1, now);
        assert_eq!((one.entries.len(), other.entries.len()), (2, 1));
        one.push(Bytes::from(vec![0; 1]).into(), 1, now);
        assert_eq!((one.oldest(), one.head()), (1, 3));
    }
}
