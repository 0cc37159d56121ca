//! The monotonic clock, which all processes of a machine share.

use std::thread;
use std::time::Duration;

use anyhow::bail;
use rustix::event::Timespec;
use rustix::time::{ClockId, clock_gettime};

/// The time whose share of a [`Budget`] may be spent at once, in seconds.
const BURST_SECONDS: f64 = 0.1;
/// The time without progress after which a measurement fails.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Returns the nanoseconds since the machine started.
pub(crate) fn now() -> u64 {
    span(read(ClockId::Monotonic))
}

/// Returns the time in nanoseconds, `delay` from now.
pub(crate) fn after(delay: Duration) -> u64 {
    now() + span(delay)
}

/// Returns the time until `due`, at most `limit`.
pub(crate) fn until(due: u64, limit: Duration) -> Duration {
    Duration::from_nanos(due.saturating_sub(now())).min(limit)
}

/// Returns the CPU time of this thread.
pub(crate) fn thread_cpu() -> Duration {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).try_into().unwrap_or_default()
}

/// Returns the nanoseconds of a duration.
pub(crate) fn span(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns a duration as the kernel takes it; one beyond its range gives zero.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or_default()
}

/// Sleeps. The load generator paces itself by time; it waits for no event here.
#[expect(clippy::disallowed_methods, reason = "there is no event to wait for")]
pub(crate) fn pause(duration: Duration) {
    thread::sleep(duration);
}

/// A rate limit for the load generator's own operations.
#[derive(Debug)]
pub(crate) struct Budget {
    rate: f64,
    updated: u64,
    credit: f64,
}

impl Budget {
    /// Creates a budget of this many operations a second.
    pub(crate) fn new(rate: u32) -> Self {
        Self { rate: rate.into(), updated: now(), credit: 0.0 }
    }

    /// Takes one operation from the budget. Returns whether there was one.
    pub(crate) fn take(&mut self) -> bool {
        self.take_at(now())
    }

    fn take_at(&mut self, now: u64) -> bool {
        let passed = Duration::from_nanos(now.saturating_sub(self.updated)).as_secs_f64();
        self.updated = now;
        // The cap keeps a delayed load generator from catching up in one burst.
        self.credit = (self.credit + passed * self.rate).min((self.rate * BURST_SECONDS).max(1.0));

        let allowed = self.credit >= 1.0;
        if allowed {
            self.credit -= 1.0;
        }
        allowed
    }
}

/// A watchdog over a count that must change.
#[derive(Debug)]
pub(crate) struct Watchdog {
    last: u64,
    changed: u64,
}

impl Watchdog {
    pub(crate) fn new() -> Self {
        Self { last: u64::MAX, changed: now() }
    }

    /// Records the current count.
    ///
    /// # Errors
    /// The count has been the same for 30 s; the error names the missing `events`.
    pub(crate) fn check(&mut self, count: u64, events: &str) -> anyhow::Result<()> {
        if count != self.last {
            (self.last, self.changed) = (count, now());
        }
        if now() > self.changed + span(STALLED_AFTER) {
            bail!("no further {events} in {} s", STALLED_AFTER.as_secs());
        }

        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_limits_the_rate_and_the_burst() {
        let mut budget = Budget { rate: 10.0, updated: 0, credit: 0.0 };
        let second = span(Duration::from_secs(1));

        let taken = (1..=1000).filter(|step| budget.take_at(step * second / 1000)).count();

        assert!((9..=10).contains(&taken), "{taken}");
        assert!(budget.take_at(100 * second));
        assert!(!budget.take_at(100 * second));
    }
}
