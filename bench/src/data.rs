//! What is published: 128 bytes that say when they were sent and which they are.

/// Length of the data of one message, in bytes.
pub(crate) const LEN: usize = 128;

const TIME_DIGITS: usize = 20;
const NUMBER_DIGITS: usize = 12;
/// The time, a space, the number.
const NUMBER_AT: usize = TIME_DIGITS + 1;

/// What a message's data says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// When it was sent, in nanoseconds of the monotonic clock.
    pub(crate) time: u64,
    /// Its number, from 0.
    pub(crate) number: u64,
}

impl Stamp {
    /// The data, of the same length for each stamp.
    pub(crate) fn write(self) -> [u8; LEN] {
        let mut data = [b'.'; LEN];
        write_digits(&mut data[..TIME_DIGITS], self.time);
        data[TIME_DIGITS] = b' ';
        write_digits(&mut data[NUMBER_AT..NUMBER_AT + NUMBER_DIGITS], self.number);
        data
    }

    /// Reads the data; nothing if it is something else.
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        if data.len() != LEN || data[TIME_DIGITS] != b' ' {
            return None;
        }
        Some(Self {
            time: read_digits(&data[..TIME_DIGITS])?,
            number: read_digits(&data[NUMBER_AT..NUMBER_AT + NUMBER_DIGITS])?,
        })
    }
}

/// Fills a field with a decimal number, zeros first.
pub(crate) fn write_digits(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b"0123456789"[usize::try_from(value % 10).unwrap_or(0)];
        value /= 10;
    }
}

/// Reads a field of decimal digits.
pub(crate) fn read_digits(field: &[u8]) -> Option<u64> {
    field.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| value.wrapping_mul(10).wrapping_add(digit.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp { time: u64::MAX / 2, number: 999_999_999_999 };
        let data = stamp.write();
        assert_eq!(Stamp::read(&data), Some(stamp));
        assert_eq!(Stamp::read(&data[1..]), None);
        assert_eq!(Stamp::read(&[b'x'; LEN]), None);
    }
}
