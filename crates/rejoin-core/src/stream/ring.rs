//! The retained frames of a stream.

use std::{collections::VecDeque, num::NonZeroUsize, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    frame::{Encode, Frame, PayloadKind},
    saved::{SavedFrame, SavedStream, age_ms, instant},
    stream::{Retention, Seq, budget::Budget},
};

/// The number of frames that producers may be ahead of the slowest shard: several full batches.
const MAX_PACE_FRAMES: usize = 1024;
/// The bytes that producers may be ahead of the slowest shard: about one write to a socket.
const MAX_PACE_BYTES: usize = 256 * 1024;

/// The bounds of one read.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// The maximum number of frames.
    pub frames: NonZeroUsize,
    /// The maximum size of the encoded frames. The first frame is read regardless of its size.
    pub bytes: usize,
}

/// Consecutive frames of a stream.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The number of the first frame.
    pub first: Seq,
    /// The frames.
    pub frames: Vec<Frame>,
    /// The size of the binary messages among them, in bytes.
    pub binary_bytes: u64,
}

impl Batch {
    /// Returns the number of the frame after the last one.
    #[must_use]
    pub fn end(&self) -> Seq {
        self.first + self.frames.len() as Seq
    }
}

#[derive(Debug)]
struct Entry {
    frame: Frame,
    /// The offset at which the frame begins, in the stream's units.
    offset: u64,
    /// Bytes of all earlier frames, dropped ones included.
    bytes_before: u64,
    at: Instant,
}

/// A bounded queue of frames that drops the oldest.
#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    /// The number of the oldest entry, or of the next frame if there is none.
    first: Seq,
    head_offset: u64,
    /// The offset of the frame that was dropped last.
    dropped_offset: Option<u64>,
    /// Bytes of all frames ever pushed.
    total_bytes: u64,
    retention: Retention,
    /// The budget shared with other rings, if any.
    budget: Option<Arc<Budget>>,
    last_use: Instant,
}

/// The result of the search for an offset in a ring.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// The next frame is retained, or is the head.
    At(Seq),
    /// Frames after the offset were dropped; `missed` counts their units, if known.
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

    /// Restores a saved stream, whose frames are of one unit each.
    pub(super) fn restore(&mut self, saved: &SavedStream, encode: Encode) {
        // The dropped frames were of one unit each as well.
        self.head_offset = saved.head.offset.saturating_sub(saved.frames.len() as u64);
        for SavedFrame { age_ms, payload } in &saved.frames {
            self.push(Frame::new(encode, PayloadKind::Text, &[payload]), 1, instant(*age_ms));
        }
        // Readers may have used the stream until the end of the other process.
        self.last_use = Instant::now();
    }

    /// Returns the head offset and the frames.
    pub(super) fn save(&self) -> (u64, Vec<SavedFrame>) {
        let frames = self.entries.iter().map(|Entry { frame, at, .. }| SavedFrame {
            age_ms: age_ms(*at),
            payload: frame.payload(),
        });
        (self.head_offset, frames.collect())
    }

    /// Appends a frame, then drops the oldest ones above the bounds. The new frame stays.
    pub(super) fn push(&mut self, frame: Frame, units: u64, now: Instant) {
        let (offset, bytes_before) = (self.head_offset, self.total_bytes);
        self.total_bytes += frame.plain().len() as u64;
        self.head_offset += units;
        self.last_use = now;
        if let Some(budget) = &self.budget {
            budget.add(frame.plain().len());
        }

        self.entries.push_back(Entry { frame, offset, bytes_before, at: now });

        // The new frame always stays, so that each reader has something to continue with.
        while self.entries.len() > 1
            && (self.entries.len() > self.retention.frames.get()
                || self.retained_bytes() > self.retention.bytes.get() as u64
                || self.budget.as_ref().is_some_and(|budget| budget.is_exceeded()))
        {
            self.drop_oldest();
        }

        self.expire(now);
    }

    /// Drops all frames and continues at an offset, which no reader has reached.
    pub(super) fn skip_to(&mut self, offset: u64) {
        self.clear();
        // A number that no frame has: readers at the head are behind as well.
        self.first += 1;
        self.dropped_offset = None;
        self.head_offset = offset;
    }

    /// Drops all frames.
    pub(super) fn clear(&mut self) {
        while !self.entries.is_empty() {
            self.drop_oldest();
        }
        self.entries.shrink_to_fit();
    }

    /// Returns the budget if its rings retain too much together.
    pub(super) fn exceeded_budget(&self) -> Option<Arc<Budget>> {
        self.budget.as_ref().filter(|budget| budget.is_exceeded()).cloned()
    }

    /// Drops the frames above the maximum age.
    pub(super) fn expire(&mut self, now: Instant) {
        let Some(age) = self.retention.age else { return };
        while self.entries.front().is_some_and(|entry| now.duration_since(entry.at) > age) {
            self.drop_oldest();
        }

        if self.entries.is_empty() {
            self.entries.shrink_to_fit();
        }
    }

    /// Records a use: a client may resume from a position that it learns now.
    pub(super) fn touch(&mut self, now: Instant) {
        self.last_use = now;
    }

    /// Returns the time since the last push, the last start of a reader, or the last unfollow.
    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        now.duration_since(self.last_use)
    }

    /// Returns the time since the newest frame, or since the last use if there is none.
    pub(super) fn quiet_for(&self, now: Instant) -> Duration {
        let newest = self.entries.back().map_or(self.last_use, |entry| entry.at);
        now.duration_since(newest)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of the next frame.
    pub(super) fn head(&self) -> Seq {
        self.first + self.entries.len() as Seq
    }

    /// Returns the offset after the last frame.
    pub(super) fn head_offset(&self) -> u64 {
        self.head_offset
    }

    /// Returns the oldest retained frame; the next frame if none is retained.
    pub(super) fn oldest(&self) -> Seq {
        self.first
    }

    /// Returns the offset at which the frame `seq` begins; the head offset if it is not retained.
    pub(super) fn offset_of(&self, seq: Seq) -> u64 {
        self.entry(seq).map_or(self.head_offset, |entry| entry.offset)
    }

    /// Finds the first frame that begins at `offset`.
    pub(super) fn locate(&self, offset: u64) -> Location {
        // Offsets ascend; frames of 0 units share the offset of the next one.
        let index = self.entries.partition_point(|entry| entry.offset < offset);
        let begins = self.entries.get(index).map_or(self.head_offset, |entry| entry.offset);

        // A frame of 0 units at this offset may be dropped although the next frame is retained.
        if begins == offset && self.dropped_offset != Some(offset) {
            return Location::At(self.first + index as Seq);
        }

        // The offset is in a dropped frame, within a frame, or beyond the head.
        let oldest = self.entries.front().map_or(self.head_offset, |entry| entry.offset);
        Location::Gone { missed: oldest.checked_sub(offset) }
    }

    /// Copies the handles of the frames from `from` on; returns `false` if `from` was dropped.
    pub(super) fn read(&self, from: Seq, limit: ReadLimit, batch: &mut Batch) -> bool {
        batch.frames.clear();
        (batch.first, batch.binary_bytes) = (from, 0);
        let Some(start) = from.checked_sub(self.first) else { return false };

        // At the head the batch stays empty.
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(self.entries.len());
        let mut bytes = 0;
        for entry in self.entries.range(start..).take(limit.frames.get()) {
            bytes += entry.frame.plain().len();
            if bytes > limit.bytes && !batch.frames.is_empty() {
                break;
            }
            batch.binary_bytes += entry.frame.binary_bytes();
            batch.frames.push(entry.frame.clone());
        }

        true
    }

    /// Returns `true` if a producer may continue while the slowest follower is at `taken`, and
    /// `reserved` frames of `reserved_bytes` are about to be pushed.
    ///
    /// At most half of the ring is ever untaken, so pacing alone never drops an untaken frame.
    pub(super) fn has_room(&self, taken: Seq, reserved: u64, reserved_bytes: u64) -> bool {
        let frames = (self.retention.frames.get() / 2).clamp(1, MAX_PACE_FRAMES);
        let bytes = (self.retention.bytes.get() / 2).clamp(1, MAX_PACE_BYTES);

        let behind = self.head().saturating_sub(taken) + reserved;

        behind < frames as u64 && self.bytes_from(taken) + reserved_bytes < bytes as u64
    }

    /// Returns the bytes of the frames from `seq` on. Dropped frames are not counted.
    pub(super) fn bytes_from(&self, seq: Seq) -> u64 {
        let before = self.entry(seq.max(self.first)).map(|entry| entry.bytes_before);
        self.total_bytes - before.unwrap_or(self.total_bytes)
    }

    fn entry(&self, seq: Seq) -> Option<&Entry> {
        self.entries.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    fn retained_bytes(&self) -> u64 {
        self.total_bytes - self.entries.front().map_or(self.total_bytes, |e| e.bytes_before)
    }

    fn drop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.dropped_offset = Some(entry.offset);
            self.first += 1;
            if let Some(budget) = &self.budget {
                budget.release(entry.frame.plain().len());
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The budget outlives the ring: the user's other streams share it.
        if let Some(budget) = &self.budget {
            budget.release(self.entries.iter().map(|entry| entry.frame.plain().len()).sum());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push { ring: usize, bytes: usize },
        Wait { seconds: u64 },
        Replace { ring: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..4usize, 0..600usize).prop_map(|(ring, bytes)| Step::Push { ring, bytes }),
            1 => (1..40u64).prop_map(|seconds| Step::Wait { seconds }),
            1 => (0..4usize).prop_map(|ring| Step::Replace { ring }),
        ]
    }

    fn retention() -> Retention {
        let [frames, bytes] = [6, 2000].map(|n| NonZeroUsize::new(n).expect("not zero"));
        Retention { frames, bytes, age: Some(Duration::from_secs(60)) }
    }

    fn frame(bytes: usize) -> Frame {
        Frame::new(|_, parts| parts.concat().into(), PayloadKind::Binary, &[&vec![0; bytes]])
    }

    proptest! {
        #[test]
        fn a_budget_is_the_sum_of_its_rings(steps in prop::collection::vec(step(), 1..120)) {
            const LIMIT: u64 = 3000;
            let budget = Budget::new(LIMIT);
            let new = || Ring::new(retention(), Some(Arc::clone(&budget)));
            let mut rings: [Ring; 4] = std::array::from_fn(|_| new());
            let mut now = Instant::now();

            for step in steps {
                match step {
                    Step::Push { ring, bytes } => {
                        let ring = &mut rings[ring];
                        ring.push(frame(bytes), 1, now);
                        // Only the pushed ring drops frames, and its newest frame stays.
                        prop_assert!(!budget.is_exceeded() || ring.entries.len() == 1);
                        prop_assert!(!ring.entries.is_empty());
                    }
                    Step::Wait { seconds } => {
                        now += Duration::from_secs(seconds);
                        rings.iter_mut().for_each(|ring| ring.expire(now));
                    }
                    Step::Replace { ring } => rings[ring] = new(),
                }

                let retained = rings.iter().map(Ring::retained_bytes).sum::<u64>();
                prop_assert_eq!(budget.retained(), retained);
            }

            drop(rings);
            prop_assert_eq!(budget.retained(), 0);
        }
    }

    #[test]
    fn a_push_drops_frames_of_its_own_ring_only() {
        let budget = Budget::new(100);
        let [mut one, mut other] =
            [(); 2].map(|()| Ring::new(retention(), Some(Arc::clone(&budget))));
        let now = Instant::now();

        one.push(frame(60), 1, now);
        one.push(frame(30), 1, now);
        other.push(frame(20), 1, now);
        assert_eq!((one.entries.len(), other.entries.len()), (2, 1));

        one.push(frame(1), 1, now);
        assert_eq!((one.oldest(), one.head()), (1, 3));
    }
}
