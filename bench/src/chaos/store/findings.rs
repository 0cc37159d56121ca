//! Broken promises: their number by kind, and the first of them in words.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::report::print_line;

/// Findings that are described. All are counted.
const MAX_DESCRIBED: u64 = 20;

/// The kind of a broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Finding {
    /// An acknowledged message or an announced transition is missing.
    Lost,
    /// A message is there twice.
    Repeated,
    /// A position has two messages.
    TwoMeanings,
    /// A verdict does not say what was missed.
    WrongVerdict,
    /// A row or a history contradicts reality.
    Contradiction,
}

/// The broken promises of a scenario.
#[derive(Default)]
pub(super) struct Findings {
    counts: BTreeMap<Finding, u64>,
}

impl Findings {
    /// Counts a broken promise, and prints the first ones.
    pub(super) fn add(&mut self, finding: Finding, description: impl Display) {
        *self.counts.entry(finding).or_default() += 1;
        if self.total() <= MAX_DESCRIBED {
            print_line(format_args!("{finding:?}: {description}"));
        }
    }

    /// Counts a broken promise unless a condition holds.
    pub(super) fn expect(
        &mut self,
        holds: bool,
        finding: Finding,
        description: impl FnOnce() -> String,
    ) {
        if !holds {
            self.add(finding, description());
        }
    }

    pub(super) fn count(&self, finding: Finding) -> u64 {
        self.counts.get(&finding).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}
