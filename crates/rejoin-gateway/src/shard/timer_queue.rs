//! Alarms of connections, in the order of their times.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use tokio::time::Instant;

/// The time of an alarm, in milliseconds after the beginning of its queue.
pub(super) type Tick = u64;

/// A heap of alarms. One costs 16 bytes and no timer.
///
/// No alarm is taken out before its time. The connection remembers the tick that counts, and
/// ignores others.
#[derive(Debug)]
pub(super) struct TimerQueue {
    begun_at: Instant,
    alarms: BinaryHeap<Reverse<(Tick, u32)>>,
}

const _: () = assert!(size_of::<Reverse<(Tick, u32)>>() <= 16, "each idle connection has an alarm");

impl TimerQueue {
    pub(super) fn new() -> Self {
        Self { begun_at: Instant::now(), alarms: BinaryHeap::new() }
    }

    /// The first tick at or after a time: an alarm never rings early.
    pub(super) fn tick(&self, at: Instant) -> Tick {
        let after = at.saturating_duration_since(self.begun_at);
        u64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(Tick::MAX)
    }

    /// Sets an alarm.
    pub(super) fn insert(&mut self, tick: Tick, slot: usize) {
        let slot = u32::try_from(slot).expect("a process has fewer sockets");
        self.alarms.push(Reverse((tick, slot)));
    }

    /// Takes the first alarm if its time has come.
    pub(super) fn expire(&mut self, now: Instant) -> Option<(Tick, usize)> {
        let now = now.saturating_duration_since(self.begun_at).as_millis();
        let Reverse((tick, _)) = self.alarms.peek()?;
        if u128::from(*tick) > now {
            return None;
        }
        let Reverse((tick, slot)) = self.alarms.pop()?;
        if self.alarms.is_empty() {
            self.alarms.shrink_to_fit();
        }
        Some((tick, slot as usize))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.alarms.is_empty()
    }

    /// How long it is until the first alarm.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let Reverse((tick, _)) = self.alarms.peek()?;
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
        fn each_alarm_rings_once_at_the_first_look_at_or_after_its_time(
            alarms in prop::collection::vec(0u64..50_000, 0..100),
            looks in prop::collection::vec(0u64..10_000, 1..20),
        ) {
            let mut queue = TimerQueue::new();
            let begun_at = queue.begun_at;
            for (slot, micros) in alarms.iter().enumerate() {
                let tick = queue.tick(begun_at + Duration::from_micros(*micros));
                queue.insert(tick, slot);
            }
            let mut rung = vec![false; alarms.len()];
            let (mut before, mut now) = (0, 0);
            for step in looks.into_iter().chain([60_000]) {
                now += step;
                while let Some((tick, slot)) = queue.expire(begun_at + Duration::from_micros(now)) {
                    let due = alarms[slot].div_ceil(1000);
                    prop_assert_eq!(tick, due);
                    prop_assert!(due * 1000 <= now && (due * 1000 > before || before == 0));
                    prop_assert!(!std::mem::replace(&mut rung[slot], true));
                }
                let wait = queue.wait(begun_at + Duration::from_micros(now));
                prop_assert!(wait.is_none_or(|wait| wait > Duration::ZERO));
                before = now;
            }
            prop_assert!(rung.iter().all(|rung| *rung));
        }
    }
}
