//! The clock of implicit streams' epochs.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rejoin_protocol::Position;
use tokio::time::Instant;

use crate::{backend::EpochClock, time::now_ms};

/// The clock of implicit streams' epochs.
///
/// The upper half of an epoch is random, so that processes do not take each other's epochs for
/// their own. The lower half counts seconds. A stream lives for longer than a second, so no two
/// lives of a stream begin in the same epoch.
#[derive(Debug)]
pub(super) struct Epochs {
    /// The epoch at which the clock started.
    start: u64,
    /// The time that passed before `since`, in earlier processes.
    before: Duration,
    since: Instant,
    /// The last epoch in which a forgotten stream received an event. Only grows.
    forgotten: AtomicU64,
}

impl Epochs {
    pub(super) fn new() -> Self {
        let random = getrandom::u32().expect("the operating system has randomness");
        let start = u64::from(random) << 32;
        let (before, forgotten) = (Duration::ZERO, AtomicU64::new(start));
        Self { start, before, since: Instant::now(), forgotten }
    }

    /// Continues the clock of another process, which has used epochs up to `last`.
    pub(super) fn restored(clock: EpochClock, last: u64) -> Self {
        let EpochClock { start, now, forgotten, at } = clock;
        let away = Duration::from_millis(now_ms().saturating_sub(at));
        // If the clock on the wall was set back, `away` is too short, but `last` is not.
        let now = now.max(last.min(start + u64::from(u32::MAX)));
        // Rounded up: streams of the old process's last second already have that epoch.
        let before = Duration::from_secs(now.saturating_sub(start)) + away;
        Self { start, before, since: Instant::now(), forgotten: AtomicU64::new(forgotten) }
    }

    pub(super) fn save(&self) -> EpochClock {
        let forgotten = self.forgotten.load(Ordering::Relaxed);
        EpochClock { start: self.start, now: self.now(), forgotten, at: now_ms() }
    }

    pub(super) fn now(&self) -> u64 {
        self.ago(Duration::ZERO)
    }

    /// Returns the epoch `duration` ago, at least the first one of this clock.
    pub(super) fn ago(&self, duration: Duration) -> u64 {
        let passed = (self.before + self.since.elapsed()).saturating_sub(duration).as_secs();
        // From 1 on, because `forgotten` starts at 0. The range is 136 years.
        self.start + (passed + 1).min(u64::from(u32::MAX))
    }

    /// Records that a stream is forgotten that received its last event in `epoch`.
    pub(super) fn forget(&self, epoch: u64) {
        // Never decreases: an old position must not become valid again.
        self.forgotten.fetch_max(epoch, Ordering::Relaxed);
    }

    /// Returns `true` if `position` means "nothing before this moment", and no event between that
    /// moment and `end` is forgotten.
    ///
    /// `evicted` is the last epoch in which the same user may have missed an event.
    pub(super) fn is_beginning(&self, position: Position, end: u64, evicted: u64) -> bool {
        let forgotten = self.forgotten.load(Ordering::Relaxed).max(evicted);
        position.offset == 0 && position.epoch > forgotten && position.epoch <= end
    }
}
