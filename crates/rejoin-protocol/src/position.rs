//! A place in a stream's life: epoch and offset, opaque to clients.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A place in a stream's life, written `<epoch in hex>.<offset>`.
///
/// The epoch is drawn anew whenever a stream starts over, so a position from an
/// earlier life is never mistaken for one of this life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which life of the stream.
    pub epoch: u64,
    /// How far: bytes of output for a terminal, frames for a topic.
    pub offset: u64,
}

/// A text that is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position must be one that the server gave")]
pub struct InvalidPosition;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.epoch, self.offset)
    }
}

impl Position {
    /// Appends the text of the position; faster than formatting it.
    pub(crate) fn append_to(self, text: &mut String) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
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
        // `parse` takes a leading `+`, which no server writes.
        if !epoch.bytes().chain(offset.bytes()).all(|b| b.is_ascii_hexdigit()) {
            return Err(InvalidPosition);
        }
        let epoch = u64::from_str_radix(epoch, 16).map_err(|_| InvalidPosition)?;
        let offset = offset.parse().map_err(|_| InvalidPosition)?;
        Ok(Self { epoch, offset })
    }
}

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
        let rule = "A place in a stream's life, as the server gave it; opaque.";
        // Beyond these digits a number of 64 bits is full.
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
        fn an_appended_position_is_its_text(epoch: u64, shift in 0..64, offset: u64) {
            let position = Position { epoch: epoch >> shift, offset: offset >> shift };
            let mut text = "at ".to_owned();
            position.append_to(&mut text);
            prop_assert_eq!(text, format!("at {position}"));
        }
    }
}
