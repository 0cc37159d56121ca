//! The text around the data in a delivered message.

use anyhow::Context as _;

use crate::data::{self, Stamp};
use crate::frame;
use crate::swarm::Received;

/// The form of delivered messages, learned from the first one.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    /// The last message of the first subscriber; empty until the first.
    sample: Vec<u8>,
    /// Bytes after the data. They do not vary in length; those before the data may.
    tail: usize,
}

impl Envelope {
    /// Returns the text before and after the data.
    pub(super) fn parts(&self) -> Option<(String, String)> {
        let text = std::str::from_utf8(&self.sample).ok()?;
        let end = text.len().checked_sub(self.tail)?;
        let prefix = text.get(..end.checked_sub(data::LEN)?)?;
        Some((prefix.to_owned(), text.get(end..)?.to_owned()))
    }

    /// Takes the data out of a message.
    pub(super) fn open(&mut self, message: &Received<'_>) -> anyhow::Result<Stamp> {
        let payload = message.payload;
        if self.sample.is_empty() {
            self.tail = tail(payload).unwrap_or(0);
        }
        if message.member == 0 {
            self.sample.clear();
            self.sample.extend_from_slice(payload);
        }
        let end = payload.len().saturating_sub(self.tail);
        let data = &payload[end.saturating_sub(data::LEN)..end];
        Stamp::read(data).filter(|_| message.opcode == frame::TEXT).with_context(|| {
            format!("not a published message: {}", String::from_utf8_lossy(payload))
        })
    }
}

/// Returns the number of bytes after the data.
fn tail(payload: &[u8]) -> Option<usize> {
    const BEFORE: &[u8] = b"\"data\":\"";
    let start = payload.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    payload.len().checked_sub(start + data::LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(envelope: &mut Envelope, payload: &[u8]) -> Option<Stamp> {
        let received = Received {
            member: 0,
            opcode: frame::TEXT,
            is_compressed: false,
            payload,
            frame: payload,
            time: 0,
        };
        envelope.open(&received).ok()
    }

    #[test]
    fn data_is_found_in_an_envelope_and_without_one() {
        let stamp = Stamp { time: 5, number: 6 };
        let data = stamp.write();
        assert_eq!(open(&mut Envelope::default(), &data), Some(stamp));
        let mut envelope = Envelope::default();
        for position in ["9", "10"] {
            let wrapped =
                [format!("{{\"p\":{position},\"data\":\"").as_bytes(), &data, b"\",\"t\":1}"]
                    .concat();
            assert_eq!(open(&mut envelope, &wrapped), Some(stamp));
        }
        let (prefix, suffix) = envelope.parts().unwrap();
        assert_eq!((prefix.as_str(), suffix.as_str()), ("{\"p\":10,\"data\":\"", "\",\"t\":1}"));
        assert_eq!(open(&mut envelope, b"{\"type\":\"error\"}"), None);
    }
}
