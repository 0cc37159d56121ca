//! Numbers that are the same in each run of a benchmark, so that runs compare.

const MULTIPLIER: u64 = 6_364_136_223_846_793_005;

/// A series of numbers.
#[derive(Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new() -> Self {
        Self { state: 1 }
    }

    /// A number below this one, which is more than 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(1);
        (self.state >> 16) % limit
    }
}
