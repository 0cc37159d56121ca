//! JSON documents made from words: they compress as what programs send each other does.

use std::fmt::Write as _;

use crate::random::Random;

const WORDS: [&str; 48] = [
    "account",
    "active",
    "amount",
    "article",
    "attempt",
    "blue",
    "branch",
    "café",
    "channel",
    "city",
    "comment",
    "created",
    "customer",
    "delivery",
    "device",
    "door",
    "eight",
    "error",
    "failed",
    "field",
    "green",
    "home",
    "invoice",
    "item",
    "language",
    "level",
    "message",
    "night",
    "number",
    "order",
    "paper",
    "pending",
    "people",
    "price",
    "product",
    "question",
    "river",
    "seven",
    "status",
    "street",
    "summer",
    "table",
    "ticket",
    "updated",
    "warehouse",
    "water",
    "window",
    "winter",
];

/// The same words in each run of the benchmark, other ones in each document.
#[derive(Debug)]
pub(super) struct Words {
    random: Random,
}

impl Words {
    pub(super) fn new() -> Self {
        Self { random: Random::new() }
    }

    /// A list of objects, of a little more than so many bytes.
    pub(super) fn document(&mut self, bytes: usize) -> String {
        let mut document = String::from("[");
        while document.len() < bytes {
            if document.len() > 1 {
                document.push(',');
            }
            let (id, amount) = (self.random.below(1_000_000_000), self.random.below(10_000));
            let status = ["pending", "active", "failed"][self.index(3)];
            let _ = write!(
                document,
                r#"{{"id":{id},"status":"{status}","amount":{amount},"title":"{} {} {}","text":""#,
                self.word(),
                self.word(),
                self.word()
            );
            for _ in 0..12 {
                document.push_str(self.word());
                document.push(' ');
            }
            document.push_str("\"}");
        }
        document.push(']');
        document
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.index(WORDS.len())]
    }

    fn index(&mut self, below: usize) -> usize {
        usize::try_from(self.random.below(below as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_json_of_about_the_size_and_differ() {
        let mut words = Words::new();
        let (first, second) = (words.document(1024), words.document(1024));
        assert_ne!(first, second);
        for document in [first, second] {
            assert!((1024..1400).contains(&document.len()), "{}", document.len());
            assert!(serde_json::from_str::<serde_json::Value>(&document).is_ok());
        }
    }
}
