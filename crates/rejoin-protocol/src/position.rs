//! Positions in streams: epoch and offset, opaque to clients.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A position in a stream, written `<epoch in hex>.<offset>`.
///
/// A stream that starts over draws a new epoch, so the server never mistakes a position of the old
/// stream for one of the new stream.
///
/// ```
/// use rejoin_protocol::Position;
///
/// let position: Position = "5f2c.41".parse()?;
/// assert_eq!(position, Position { epoch: 0x5f2c, offset: 41 });
/// assert_eq!(position.to_string(), "5f2c.41");
/// # Ok::<(), rejoin_protocol::InvalidPosition>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// A random number that identifies one run of the stream.
    pub epoch: u64,
    /// The number of bytes of output (terminal) or of frames (topic) before the position.
    pub offset: u64,
}

/// A text that is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position must be one that the server sent, such as `5f2c.41`")]
pub struct InvalidPosition;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.epoch, self.offset)
    }
}

impl Position {
    /// Appends the text of the position, faster than `Display` does.
    pub(crate) fn append_to(self, text: &mut String) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";

        // `| 1` makes epoch 0 one digit long.
        let first = 15 - (self.epoch | 1).ilog2() / 4;
        for index in first..16 {
            let digit = (self.epoch >> (4 * (15 - index))) & 15;
            text.push(char::from(DIGITS[digit as usize]));
        }

        text.push('.');
        text.push_str(itoa::Buffer::new().format(self.offset));
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (epoch, offset) = text.split_once('.').ok_or(InvalidPosition)?;
        // `parse` accepts a leading `+`, which the server never writes.
        if !epoch.bytes().chain(offset.bytes()).all(|b| b.is_ascii_hexdigit()) {
            return Err(InvalidPosition);
        }

        let epoch = u64::from_str_radix(epoch, 16).map_err(|_| InvalidPosition)?;
        let offset = offset.parse().map_err(|_| InvalidPosition)?;
        Ok(Self { epoch, offset })
    }
}

// One string on the wire: clients must return positions, not compute with them.
impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Position {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let rule = "A position in a stream, as the server sent it. Opaque to clients.";
        // 16 hexadecimal digits and 19 decimal digits always fit into 64 bits.
        crate::schema::text(rule, Some(r"^[0-9a-f]{1,16}\.[0-9]{1,19}$"), None).into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Position {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_appended_position_equals_its_display_text(epoch: u64, shift in 0..64, offset: u64) {
            let position = Position { epoch: epoch >> shift, offset: offset >> shift };
            let mut text = "at ".to_owned();

            position.append_to(&mut text);
            prop_assert_eq!(text, format!("at {position}"));
        }
    }
}
