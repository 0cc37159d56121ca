//! Binary messages: a kind, the stream's number, an offset, then a payload.
//!
//! The header is one byte of kind and two unsigned LEB128 varints, the stream's number and an
//! offset. The payload follows up to the end of the message. Both directions carry terminal bytes
//! in this form.
//!
//! ```
//! use rejoin_protocol::{StreamNumber, binary::{BinaryHeader, BinaryKind}};
//!
//! let header = BinaryHeader { kind: BinaryKind::Input, stream: StreamNumber(7), offset: 3 };
//! let mut message = header.to_bytes();
//! message.extend(b"ls\r");
//!
//! assert_eq!(message, b"\x02\x07\x03ls\r");
//! assert_eq!(BinaryHeader::read(&message)?, (header, &b"ls\r"[..]));
//! # Ok::<(), rejoin_protocol::binary::InvalidBinary>(())
//! ```

use crate::StreamNumber;

/// The longest header of a binary message, in bytes: the kind and two varints.
pub const MAX_HEADER_BYTES: usize = 1 + 5 + 10;

/// The kind of a binary message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BinaryKind {
    /// Output from the server; the offset is that of the first byte.
    Output = 1,
    /// Input from a client; the offset is the input's `seq`.
    Input = 2,
    /// Bytes from the server that bring an empty terminal to the state at the offset.
    Snapshot = 3,
    /// An acknowledgement from the server; the offset is the last `seq` written to the terminal.
    InputAck = 4,
    /// An acknowledgement from a client; the offset is the number of bytes that it has parsed.
    Parsed = 5,
}

/// The header of a binary message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinaryHeader {
    /// The kind of the message.
    pub kind: BinaryKind,
    /// The stream's number, as `attached` reported it.
    pub stream: StreamNumber,
    /// A number whose meaning depends on the kind; see [`BinaryKind`].
    pub offset: u64,
}

/// A binary message with an invalid header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBinary {
    /// The first byte is no known kind.
    #[error("a binary message must begin with its kind: 1 to 5")]
    Kind,
    /// A varint is incomplete or too large for its type.
    #[error("two varints must follow the kind: the stream (32 bits) and an offset (64 bits)")]
    Varint,
}

impl BinaryHeader {
    /// Appends the encoded header to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        write_varint(out, u64::from(self.stream.0));
        write_varint(out, self.offset);
    }

    /// Returns the encoded header.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_HEADER_BYTES);
        self.write(&mut bytes);
        bytes
    }

    /// Splits a message into its header and its payload.
    ///
    /// # Errors
    /// [`InvalidBinary`] if the header is invalid.
    pub fn read(message: &[u8]) -> Result<(Self, &[u8]), InvalidBinary> {
        let (&kind, rest) = message.split_first().ok_or(InvalidBinary::Kind)?;
        let kind = match kind {
            1 => BinaryKind::Output,
            2 => BinaryKind::Input,
            3 => BinaryKind::Snapshot,
            4 => BinaryKind::InputAck,
            5 => BinaryKind::Parsed,
            _ => return Err(InvalidBinary::Kind),
        };

        // A stream number has 32 bits; a larger varint is not truncated but refused.
        let (stream, rest) = read_varint(rest)?;
        let (offset, rest) = read_varint(rest)?;
        let stream = u32::try_from(stream).map_err(|_| InvalidBinary::Varint)?;

        Ok((Self { kind, stream: StreamNumber(stream), offset }, rest))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "each byte takes the low seven bits")]
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
        // Nine bytes hold 63 bits, so the tenth may hold one bit only.
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
