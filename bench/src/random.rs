//! Numbers that are the same in each run of a benchmark, so that runs compare.

const MULTIPLIER: u64 = 6_364_136_223_846_793_005;

/// A series of numbers.
#[derive(Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new() -> Self {
        Self::seeded(1)
    }

    /// The series of this seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A byte.
    pub(crate) fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or(0)
    }

    /// An index of a list of this length, which is not 0.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// One of these, of which there are some.
    pub(crate) fn choose<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.index(texts.len())]
    }

    /// A number below this one, which is more than 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(1);
        (self.state >> 16) % limit
    }
}
