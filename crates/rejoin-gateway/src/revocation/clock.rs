//! The end of a revocation, by two clocks.

use std::time::Duration;

use rejoin_core::now_ms;
use tokio::time::Instant;

/// The longest time that the second clock counts: 100 years.
const MAX_LEFT: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The time by two clocks. The first may be set, the second runs with this process only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Milliseconds since the epoch.
    pub(super) day: u64,
    pub(super) at: Instant,
}

impl Now {
    pub(super) fn new() -> Self {
        Self { day: now_ms(), at: Instant::now() }
    }

    /// The time so long after, by the second clock.
    pub(super) fn after(self, left_ms: u64) -> Instant {
        self.at + Duration::from_millis(left_ms).min(MAX_LEFT)
    }
}

/// A revocation of one target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) revoked_at: u64,
    /// The end by the first clock.
    pub(super) until: u64,
    /// The end by the second clock.
    pub(super) ends_at: Instant,
}

impl Entry {
    /// Whether both clocks say so.
    pub(super) fn is_over(&self, now: Now) -> bool {
        self.until <= now.day && self.ends_at <= now.at
    }

    /// The time that is left by the second clock, in milliseconds.
    pub(super) fn left_ms(&self, now: Now) -> u64 {
        let left = self.ends_at.saturating_duration_since(now.at);
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    }
}
