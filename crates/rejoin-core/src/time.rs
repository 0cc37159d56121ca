//! The time of day in the units of the wire, and the clock of the machine.

use std::{
    fmt,
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Returns the milliseconds since the Unix epoch; 0 if the clock is set before it.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that only runs while the machine runs, and that all processes of one boot share.
#[derive(Clone)]
pub struct MachineClock {
    /// The id of the boot.
    pub boot: String,
    /// Returns the milliseconds since a point that is fixed for the boot.
    pub now: fn() -> u64,
}

impl MachineClock {
    /// Creates a clock whose times have no meaning in other processes.
    #[must_use]
    pub fn of_process() -> Self {
        Self { boot: uuid::Uuid::now_v7().to_string(), now: process_ms }
    }
}

impl fmt::Debug for MachineClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineClock").field("boot", &self.boot).finish_non_exhaustive()
    }
}

fn process_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}
