//! The data of published messages: 128 bytes with a send time and a number.

use anyhow::Context as _;
use serde_json::Value;

/// The length of the data of one message, in bytes.
pub(crate) const LEN: usize = 128;

/// The time and the number of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Nanoseconds of the monotonic clock.
    pub(crate) time: u64,
    /// Counts from 0.
    pub(crate) number: u64,
}

impl Stamp {
    /// Returns the data: 20 digits of time, a space, 12 digits of number, and a filler.
    pub(crate) fn write(self) -> String {
        // Fixed widths, so that a reader cuts by index and every message has the same size.
        format!("{:020} {:012}{:.<95}", self.time, self.number, "")
    }

    /// Parses the data; returns `None` if it is no stamp.
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let text = str::from_utf8(data).ok().filter(|text| text.len() == LEN)?;
        let (time, number) = (text.get(..20)?, text.get(21..33)?);
        Some(Self { time: time.parse().ok()?, number: number.parse().ok()? })
    }

    /// Parses the data of a delivered message.
    pub(crate) fn of(payload: &Value) -> anyhow::Result<Self> {
        let data = payload["data"].as_str().unwrap_or_default();
        Self::read(data.as_bytes()).context("not a published message")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_from_its_data() {
        let stamp = Stamp { time: u64::MAX / 2, number: 999_999_999_999 };

        let data = stamp.write();

        assert_eq!(data.len(), LEN);
        assert_eq!(Stamp::read(data.as_bytes()), Some(stamp));
        assert_eq!(Stamp::read(&data.as_bytes()[1..]), None);
        assert_eq!(Stamp::read(&[b'x'; LEN]), None);
    }
}
