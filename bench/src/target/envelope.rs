//! The text around the data in a delivered message.

use anyhow::Context as _;

use crate::client_pool::Frame;
use crate::frame;
use crate::stamp::{self, Stamp};

/// The format of delivered messages, learned from the first one.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    /// The last message of subscriber 0.
    sample: Vec<u8>,
    /// The bytes after the data. Their length is constant; that of the bytes before may vary.
    tail: usize,
}

impl Envelope {
    /// Returns the text before and after the data, once a message has arrived.
    pub(super) fn parts(&self) -> Option<(String, String)> {
        let text = str::from_utf8(&self.sample).ok()?;
        let end = text.len().checked_sub(self.tail)?;
        let prefix = text.get(..end.checked_sub(stamp::LEN)?)?;
        Some((prefix.to_owned(), text.get(end..)?.to_owned()))
    }

    /// Extracts the stamp from a message of a subscriber.
    ///
    /// # Errors
    /// The message is no published message.
    pub(super) fn open(&mut self, subscriber: usize, message: &Frame) -> anyhow::Result<Stamp> {
        let payload = message.payload();
        if self.sample.is_empty() {
            self.tail = tail(payload).unwrap_or(0);
        }
        if subscriber == 0 {
            self.sample.clear();
            self.sample.extend_from_slice(payload);
        }

        // Cut by length: parsing the JSON of each delivery would take the cores from the server.
        let end = payload.len().saturating_sub(self.tail);
        let data = &payload[end.saturating_sub(stamp::LEN)..end];
        Stamp::read(data).filter(|_| message.opcode == frame::TEXT).with_context(|| {
            format!("not a published message: {}", String::from_utf8_lossy(payload))
        })
    }
}

/// Returns the number of bytes after the data.
fn tail(payload: &[u8]) -> Option<usize> {
    const BEFORE: &[u8] = b"\"data\":\"";
    let start = payload.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    payload.len().checked_sub(start + stamp::LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(envelope: &mut Envelope, payload: &[u8]) -> Option<Stamp> {
        envelope.open(0, &Frame::text(payload)).ok()
    }

    #[test]
    fn stamps_are_found_with_and_without_an_envelope() {
        let stamp = Stamp { time: 5, number: 6 };
        let data = stamp.write();
        let mut envelope = Envelope::default();

        for position in ["9", "10"] {
            let prefix = format!("{{\"p\":{position},\"data\":\"");
            let message = format!("{prefix}{data}\",\"t\":1}}");
            assert_eq!(open(&mut envelope, message.as_bytes()), Some(stamp));
        }

        let (prefix, suffix) = envelope.parts().unwrap();
        assert_eq!((prefix.as_str(), suffix.as_str()), ("{\"p\":10,\"data\":\"", "\",\"t\":1}"));
        assert_eq!(open(&mut envelope, b"{\"type\":\"error\"}"), None);
        assert_eq!(open(&mut Envelope::default(), data.as_bytes()), Some(stamp));
    }
}
