//! The expiry of a revocation, by two clocks.
//!
//! The wall clock may be set wrong, and would then end revocations early. The monotonic clock
//! cannot, but counts only while the server runs. A revocation expires when both say so.

use std::time::Duration;

use rejoin_core::now_ms;
use tokio::time::Instant;

/// The longest time that the monotonic clock counts: 100 years. A longer one could overflow it.
const MAX_LEFT: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The time by two clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// The wall clock, in milliseconds since the epoch.
    pub(super) wall: u64,
    pub(super) monotonic: Instant,
}

impl Now {
    /// Returns the current time.
    pub(super) fn new() -> Self {
        Self { wall: now_ms(), monotonic: Instant::now() }
    }

    /// Returns the monotonic time `left_ms` milliseconds later.
    pub(super) fn after(self, left_ms: u64) -> Instant {
        self.monotonic + Duration::from_millis(left_ms).min(MAX_LEFT)
    }
}

/// A revocation of one target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) revoked_at: u64,
    /// The expiry by the wall clock.
    pub(super) until: u64,
    /// The expiry by the monotonic clock.
    pub(super) ends_at: Instant,
}

impl Entry {
    /// Returns `true` if the revocation has expired by both clocks.
    pub(super) fn has_expired(&self, now: Now) -> bool {
        // Both: an early expiry would make a stolen token valid again, a late one only costs
        // memory.
        self.until <= now.wall && self.ends_at <= now.monotonic
    }

    /// Returns the time left by the monotonic clock, in milliseconds.
    pub(super) fn left_ms(&self, now: Now) -> u64 {
        let left = self.ends_at.saturating_duration_since(now.monotonic);
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    }
}
