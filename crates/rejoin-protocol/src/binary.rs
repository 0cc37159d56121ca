//! Binary messages: a kind, the stream's number, an offset, then bytes.
//!
//! One byte of kind, two unsigned LEB128 varints (the stream's number and an offset), then the
//! rest of the message. Terminal bytes travel like this in both directions.

use crate::StreamNumber;

/// Longest head of a binary message, in bytes: the kind and two varints.
pub const MAX_HEADER_BYTES: usize = 1 + 5 + 10;

/// What a binary message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BinaryKind {
    /// Server: output; the offset is where these bytes begin.
    Output = 1,
    /// Client: input; the offset is its `seq`.
    Input = 2,
    /// Server: bytes that put an empty terminal into the state at the offset.
    Snapshot = 3,
    /// Server: the offset is the last `seq` that was written to the terminal.
    InputAck = 4,
}

/// The head of a binary message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinaryHeader {
    /// What follows.
    pub kind: BinaryKind,
    /// The stream's number, as `attached` told it.
    pub stream: StreamNumber,
    /// What the kind says that it is.
    pub offset: u64,
}

/// Why bytes are not a binary message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBinary {
    /// The first byte is no known kind.
    #[error("a binary message begins with its kind: 1, 2, 3 or 4")]
    Kind,
    /// A varint is cut off, or does not fit its type.
    #[error("the kind is followed by two varints: the stream (32 bit) and an offset (64 bit)")]
    Varint,
}

impl BinaryHeader {
    /// Appends the head's bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        write_varint(out, u64::from(self.stream.0));
        write_varint(out, self.offset);
    }

    /// The head's bytes, by themselves.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_HEADER_BYTES);
        self.write(&mut bytes);
        bytes
    }

    /// Splits a message into its head and the bytes after it.
    ///
    /// # Errors
    /// [`InvalidBinary`] if the head is not one.
    pub fn read(message: &[u8]) -> Result<(Self, &[u8]), InvalidBinary> {
        let (&kind, rest) = message.split_first().ok_or(InvalidBinary::Kind)?;
        let kind = match kind {
            1 => BinaryKind::Output,
            2 => BinaryKind::Input,
            3 => BinaryKind::Snapshot,
            4 => BinaryKind::InputAck,
            _ => return Err(InvalidBinary::Kind),
        };
        let (stream, rest) = read_varint(rest)?;
        let (offset, rest) = read_varint(rest)?;
        let stream = u32::try_from(stream).map_err(|_| InvalidBinary::Varint)?;
        Ok((Self { kind, stream: StreamNumber(stream), offset }, rest))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_varint(bytes: &[u8]) -> Result<(u64, &[u8]), InvalidBinary> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte holds the sixty-fourth bit and nothing else.
        if index == 9 && bits > 1 {
            return Err(InvalidBinary::Varint);
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[index + 1..]));
        }
    }
    Err(InvalidBinary::Varint)
}
