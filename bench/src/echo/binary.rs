//! Binary messages of `rejoin.v1`: a kind, the stream, an offset, the data.

/// The program has printed data; the offset counts its bytes.
pub(super) const OUTPUT: u8 = 1;
const INPUT: u8 = 2;
/// The input with this number was written to the program.
pub(super) const INPUT_ACK: u8 = 4;

/// A binary message from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Binary<'a> {
    pub(super) kind: u8,
    pub(super) offset: u64,
    pub(super) data: &'a [u8],
}

impl<'a> Binary<'a> {
    /// Reads a message; returns `None` if its head is not complete.
    pub(super) fn read(message: &'a [u8]) -> Option<Self> {
        let (kind, rest) = message.split_first()?;
        let (_stream, rest) = read_varint(rest)?;
        let (offset, data) = read_varint(rest)?;
        Some(Self { kind: *kind, offset, data })
    }
}

/// Returns an input message with a number.
pub(super) fn input(stream: u64, number: u64, data: &[u8]) -> Vec<u8> {
    let mut message = vec![INPUT];
    write_varint(&mut message, stream);
    write_varint(&mut message, number);
    message.extend_from_slice(data);
    message
}

/// Reads an unsigned LEB128 number; returns it and the bytes after it.
fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let last = bytes.iter().position(|byte| byte & 0x80 == 0)?;
    let (number, rest) = bytes.split_at(last + 1);
    let value = number.iter().rev().fold(0, |value, byte| (value << 7) | u64::from(byte & 0x7f));
    Some((value, rest))
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(0x80 | u8::try_from(value & 0x7f).unwrap_or(0));
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_protocol_are_read_and_written() {
        assert_eq!(input(7, 3, b"ls\r"), b"\x02\x07\x03ls\r");
        let output = Binary::read(b"\x01\x07\x80\x20hi\r\n").unwrap();
        assert_eq!(output, Binary { kind: OUTPUT, offset: 4096, data: b"hi\r\n" });
        let ack = Binary::read(b"\x04\xac\x02\x03").unwrap();
        assert_eq!(ack, Binary { kind: INPUT_ACK, offset: 3, data: b"" });
        assert_eq!(Binary::read(b"\x01\x80"), None);
        assert_eq!(input(300, 5000, b"")[1..], [0xac, 0x02, 0x88, 0x27]);
    }
}
