//! The monotonic clock, which all processes of a machine share.

use std::time::Duration;

use rustix::event::Timespec;
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the machine started.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned());
    seconds * 1_000_000_000 + nanos
}

/// A duration as the kernel takes it.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: duration.subsec_nanos().into() }
}

/// Lets time pass while nothing is to be done; what is waited for here is the time itself.
pub(crate) fn pause(duration: Duration) {
    let until = now() + u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    while let left @ 1.. = until.saturating_sub(now()) {
        let _ = rustix::thread::nanosleep(&timespec(Duration::from_nanos(left)));
    }
}
