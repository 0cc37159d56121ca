//! One subscriber: where it is, and which messages it has got.

use std::collections::BTreeSet;

use anyhow::Context as _;

use crate::data::Stamp;
use crate::said::{Message, Subscribed};

/// A client that reads the topic.
#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) is_there: bool,
    pub(super) position: Option<String>,
    /// When it was told to come back.
    pub(super) come_back_at: Option<u64>,
    /// Attempts in vain since it was there.
    pub(super) failures: u32,
    /// The number of the message that must come next.
    next: u64,
    pub(super) received: u64,
    /// The numbers of messages that others came instead of.
    pub(super) skipped: Vec<u64>,
    pub(super) repeated: u64,
}

impl Member {
    /// Takes a message, and keeps its position.
    pub(super) fn take(&mut self, message: &Message<'_>) -> anyhow::Result<()> {
        let stamp = message.text().and_then(Stamp::read).context("not a published message")?;
        self.keep(message.position);
        self.count(stamp.number);
        Ok(())
    }

    fn count(&mut self, number: u64) {
        if number < self.next {
            // What was skipped and comes later is out of order, and no less wrong than twice.
            self.repeated += 1;
            return;
        }
        self.skipped.extend(self.next..number);
        self.next = number + 1;
        self.received += 1;
    }

    /// Takes the answer to its subscription; in words, what became of its position.
    pub(super) fn subscribed(&mut self, answer: &Subscribed<'_>) -> String {
        self.is_there = true;
        self.failures = 0;
        if answer.verdict != "resumed" {
            self.keep(answer.position);
        }
        match answer.reason {
            Some(reason) => format!("{} ({reason})", answer.verdict),
            None => answer.verdict.to_owned(),
        }
    }

    fn keep(&mut self, position: &str) {
        let kept = self.position.get_or_insert_default();
        kept.clear();
        kept.push_str(position);
    }

    /// Whether it has all messages before this one that can still come.
    pub(super) fn has_all_before(&self, end: u64) -> bool {
        self.next >= end
    }

    /// How many of the messages before `end` it did not get, those aside that nobody is sure of.
    pub(super) fn missed(&self, end: u64, unsure: &BTreeSet<u64>) -> u64 {
        let missed = self.skipped.iter().copied().chain(self.next..end);
        missed.filter(|number| !unsure.contains(number)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_skipped_and_what_never_came_is_missed_and_what_came_twice_is_counted() {
        let mut member = Member::default();
        for number in [0, 1, 1, 4] {
            member.count(number);
        }
        assert_eq!((member.received, member.repeated), (3, 1));
        assert_eq!(member.missed(7, &BTreeSet::from([3])), 3);
        assert!(member.has_all_before(5) && !member.has_all_before(6));
    }
}
