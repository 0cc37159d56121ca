//! The topics of a benchmark, and the name that each server has for them.

/// The digits before data published to the bare loop, which name its topic.
pub(crate) const DIGITS: usize = 4;

/// A number of topics over which messages and subscribers are spread evenly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topics {
    count: usize,
}

impl Topics {
    /// One topic.
    pub(crate) const ONE: Self = Self { count: 1 };

    /// Returns this many topics, from 1 to 10,000.
    pub(crate) fn new(count: usize) -> Self {
        // The bound keeps the numbers within `DIGITS` digits.
        Self { count: count.clamp(1, 10_000) }
    }

    /// Returns the number of topics.
    pub(crate) fn count(self) -> usize {
        self.count
    }

    /// Returns the topic of a message or subscriber.
    pub(crate) fn topic_of(self, number: u64) -> usize {
        usize::try_from(number % self.count as u64).unwrap_or(0)
    }

    /// Returns the name of a topic in rejoin's messages.
    pub(crate) fn name(topic: usize) -> String {
        format!("bench-{topic:0DIGITS$}")
    }

    /// Returns the path at which the bare loop accepts subscribers of a topic.
    pub(crate) fn path(topic: usize) -> String {
        format!("/subscribe/{topic}")
    }

    /// Returns the prefix of data that is published to the bare loop.
    pub(crate) fn tag(topic: usize) -> String {
        format!("{topic:0DIGITS$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_spread_round_robin_over_numbered_topics() {
        let topics = Topics::new(3);

        let numbers: Vec<_> = (0..5).map(|number| topics.topic_of(number)).collect();

        assert_eq!(numbers, [0, 1, 2, 0, 1]);
        let names = (Topics::name(2), Topics::path(2), Topics::tag(2));
        assert_eq!(names, ("bench-0002".into(), "/subscribe/2".into(), "0002".into()));
    }
}
