//! The clock of the machine, which stands still while the machine sleeps.

use std::fs;

use rejoin_core::MachineClock;
use rustix::time::{ClockId, clock_gettime};

/// The file with the id of the current boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Returns the clock that all processes of this boot share.
pub(crate) fn machine_clock() -> MachineClock {
    match fs::read_to_string(BOOT_ID) {
        Ok(boot) => MachineClock { boot: boot.trim().to_owned(), now: monotonic_ms },
        // A stored time has no meaning then, and an idle time-out begins anew.
        Err(_) => MachineClock::of_process(),
    }
}

fn monotonic_ms() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanoseconds) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds * 1000 + nanoseconds / 1_000_000
}
