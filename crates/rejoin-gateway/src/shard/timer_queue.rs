//! The timers of a shard's connections, ordered by time.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use tokio::time::Instant;

/// The time of a timer, in milliseconds after the creation of its queue.
pub(super) type Tick = u64;

/// A heap of timers with a resolution of 1 ms. A timer costs 16 bytes.
///
/// A timer cannot be removed before it fires, because a search in the heap would take linear time.
/// The connection remembers its current tick, and ignores all others.
#[derive(Debug)]
pub(super) struct TimerQueue {
    begun_at: Instant,
    timers: BinaryHeap<Reverse<(Tick, u32)>>,
}

const _: () = assert!(size_of::<Reverse<(Tick, u32)>>() <= 16, "each idle connection has a timer");

impl TimerQueue {
    pub(super) fn new() -> Self {
        Self { begun_at: Instant::now(), timers: BinaryHeap::new() }
    }

    /// Returns the first tick at or after `at`, so that no timer fires early.
    pub(super) fn tick(&self, at: Instant) -> Tick {
        let after = at.saturating_duration_since(self.begun_at);
        // Saturates, because a timer in half a billion years never fires.
        u64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(Tick::MAX)
    }

    /// Adds a timer.
    pub(super) fn insert(&mut self, tick: Tick, slot: usize) {
        let slot = u32::try_from(slot).expect("a process has fewer than 2^32 sockets");
        self.timers.push(Reverse((tick, slot)));
    }

    /// Removes and returns the earliest timer if it is due.
    pub(super) fn expire(&mut self, now: Instant) -> Option<(Tick, usize)> {
        // Rounds down, whereas `tick` rounds up: a timer fires at most 1 ms late and never early.
        let now = now.saturating_duration_since(self.begun_at).as_millis();
        let Reverse((tick, _)) = self.timers.peek()?;
        if u128::from(*tick) > now {
            return None;
        }

        let Reverse((tick, slot)) = self.timers.pop()?;
        // Frees the memory after a peak of connections.
        if self.timers.is_empty() {
            self.timers.shrink_to_fit();
        }
        Some((tick, slot as usize))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// Returns the time until the earliest timer.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let Reverse((tick, _)) = self.timers.peek()?;
        let at = self.begun_at + Duration::from_millis(*tick);
        Some(at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_timer_fires_once_and_never_early(
            timers in prop::collection::vec(0u64..50_000, 0..100),
            checks in prop::collection::vec(0u64..10_000, 1..20),
        ) {
            let mut queue = TimerQueue::new();
            let begun_at = queue.begun_at;
            for (slot, micros) in timers.iter().enumerate() {
                let tick = queue.tick(begun_at + Duration::from_micros(*micros));
                queue.insert(tick, slot);
            }

            let mut fired = vec![false; timers.len()];

            let (mut before, mut now) = (0, 0);
            for step in checks.into_iter().chain([60_000]) {
                now += step;
                while let Some((tick, slot)) = queue.expire(begun_at + Duration::from_micros(now)) {
                    let due = timers[slot].div_ceil(1000);
                    prop_assert_eq!(tick, due);
                    prop_assert!(due * 1000 <= now && (due * 1000 > before || before == 0));
                    prop_assert!(!std::mem::replace(&mut fired[slot], true));
                }

                let wait = queue.wait(begun_at + Duration::from_micros(now));
                prop_assert!(wait.is_none_or(|wait| wait > Duration::ZERO));

                before = now;
            }

            prop_assert!(fired.iter().all(|fired| *fired));
        }
    }
}
