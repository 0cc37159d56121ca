//! JSON documents of words, which compress about as well as real messages.

use std::fmt::Write as _;

/// At most eight letters each, so that rustfmt packs the lines.
const WORDS: [&str; 48] = [
    "account", "active", "amount", "article", "attempt", "blue", "branch", "café", "channel",
    "city", "comment", "created", "customer", "delivery", "device", "door", "eight", "error",
    "failed", "field", "green", "home", "invoice", "item", "language", "level", "message", "night",
    "number", "order", "paper", "pending", "people", "price", "product", "question", "river",
    "seven", "status", "street", "summer", "table", "ticket", "updated", "depot", "water",
    "window", "winter",
];

/// A series of documents, the same in each run of the benchmark.
#[derive(Debug)]
pub(super) struct Documents {
    random: fastrand::Rng,
}

impl Documents {
    pub(super) fn new() -> Self {
        Self { random: fastrand::Rng::with_seed(1) }
    }

    /// Returns a list of objects, of at least this many bytes.
    pub(super) fn next(&mut self, bytes: usize) -> String {
        let mut document = String::from("[");
        while document.len() < bytes {
            if document.len() > 1 {
                document.push(',');
            }

            let (id, amount) = (self.random.u32(..1_000_000_000), self.random.u32(..10_000));
            let status = ["pending", "active", "failed"][self.random.usize(..3)];
            let (title, text) = (self.words(3), self.words(12));
            let _ = write!(
                document,
                r#"{{"id":{id},"status":"{status}","amount":{amount},"title":"{title}","text":"{text}"}}"#,
            );
        }

        document.push(']');
        document
    }

    fn words(&mut self, count: usize) -> String {
        let words: Vec<_> = (0..count).map(|_| WORDS[self.random.usize(..WORDS.len())]).collect();
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_valid_json_of_the_requested_size() {
        let mut documents = Documents::new();

        let (first, second) = (documents.next(1024), documents.next(1024));

        assert_ne!(first, second);
        for document in [first, second] {
            assert!((1024..1400).contains(&document.len()), "{}", document.len());
            assert!(serde_json::from_str::<serde_json::Value>(&document).is_ok());
        }
    }
}
