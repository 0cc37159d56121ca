//! The monotonic clock, which all processes of a machine share.

use std::time::Duration;

use rustix::event::Timespec;
use rustix::time::{ClockId, clock_gettime};

/// The longest time whose share may be done at once, in seconds: who was kept from working does
/// not make up for it by a burst.
const BURST_SECONDS: f64 = 0.1;

/// Nanoseconds since the machine started.
pub(crate) fn now() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// CPU time of this thread.
pub(crate) fn thread_cpu() -> Duration {
    Duration::from_nanos(nanos(clock_gettime(ClockId::ThreadCPUTime)))
}

fn nanos(time: Timespec) -> u64 {
    let (seconds, nanos) = (time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned());
    seconds * 1_000_000_000 + nanos
}

/// Nanoseconds of a duration.
pub(crate) fn span(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// So many things a second, and no more.
#[derive(Debug)]
pub(crate) struct Budget {
    rate: f64,
    since: u64,
    credit: f64,
}

impl Budget {
    pub(crate) fn new(rate: u32) -> Self {
        Self { rate: rate.into(), since: now(), credit: 0.0 }
    }

    /// Whether one more may be done; then it counts as done.
    pub(crate) fn take(&mut self) -> bool {
        self.take_at(now())
    }

    fn take_at(&mut self, now: u64) -> bool {
        let passed = Duration::from_nanos(now.saturating_sub(self.since)).as_secs_f64();
        self.since = now;
        self.credit = (self.credit + passed * self.rate).min((self.rate * BURST_SECONDS).max(1.0));
        let may = self.credit >= 1.0;
        if may {
            self.credit -= 1.0;
        }
        may
    }
}

/// A duration as the kernel takes it.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: duration.subsec_nanos().into() }
}

/// Lets time pass while nothing is to be done; what is waited for here is the time itself.
pub(crate) fn pause(duration: Duration) {
    let until = now() + span(duration);
    while let left @ 1.. = until.saturating_sub(now()) {
        let _ = rustix::thread::nanosleep(&timespec(Duration::from_nanos(left)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_kept_and_is_not_saved_up() {
        let mut budget = Budget { rate: 10.0, since: 0, credit: 0.0 };
        let second = span(Duration::from_secs(1));
        let mut taken = 0;
        for step in 1..=1000 {
            taken += u32::from(budget.take_at(step * second / 1000));
        }
        assert!((9..=10).contains(&taken), "{taken}");
        assert!(budget.take_at(100 * second));
        assert!(!budget.take_at(100 * second));
    }
}
