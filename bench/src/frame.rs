//! WebSocket frames as a client sees them, no more than a load generator needs.

/// A text message.
pub(crate) const TEXT: u8 = 1;
/// A binary message.
pub(crate) const BINARY: u8 = 2;
/// The other side is going.
pub(crate) const CLOSE: u8 = 8;
/// The other side wants a pong.
pub(crate) const PING: u8 = 9;
/// The answer to a ping.
pub(crate) const PONG: u8 = 10;

const FINAL: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const MASKED: u8 = 0x80;
/// Any key masks; a benchmark has nobody to protect.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Appends one masked frame.
pub(crate) fn write_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    write_masked_first(out, FINAL | opcode, payload);
}

/// Appends one masked frame of a compressed text message.
pub(crate) fn write_masked_compressed(out: &mut Vec<u8>, payload: &[u8]) {
    write_masked_first(out, FINAL | COMPRESSED | TEXT, payload);
}

/// Appends the first frame of a text message that has more of them.
pub(crate) fn write_masked_fragment(out: &mut Vec<u8>, payload: &[u8]) {
    write_masked_first(out, TEXT, payload);
}

fn write_masked_first(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    write_header(out, first, payload.len(), MASKED);
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], MASK);
}

/// Appends one frame without a mask, its payload in parts.
pub(crate) fn write_plain(out: &mut Vec<u8>, opcode: u8, parts: [&[u8]; 3]) {
    write_header(out, FINAL | opcode, parts.iter().map(|part| part.len()).sum(), 0);
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Masks or unmasks.
pub(crate) fn unmask(payload: &mut [u8], key: [u8; 4]) {
    for chunk in payload.chunks_mut(4) {
        for (byte, key) in chunk.iter_mut().zip(key) {
            *byte ^= key;
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "each length is checked for its width")]
fn write_header(out: &mut Vec<u8>, first: u8, len: usize, masked: u8) {
    out.push(first);
    match len {
        0..126 => out.push(masked | len as u8),
        126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// The first frame of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) opcode: u8,
    pub(crate) is_final: bool,
    /// Whether the payload is compressed (RFC 7692).
    pub(crate) is_compressed: bool,
    pub(crate) mask: Option<[u8; 4]>,
    /// Where the payload begins.
    pub(crate) start: usize,
    /// Where it ends.
    pub(crate) end: usize,
}

impl Header {
    /// Reads a header; nothing while the frame is not complete.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let [first, second, rest @ ..] = bytes else { return None };
        let (len, mut start) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
            short => (short.into(), 2),
        };
        let mut mask = None;
        if second & MASKED != 0 {
            mask = Some(*bytes.get(start..)?.first_chunk()?);
            start += 4;
        }
        let end = start + usize::try_from(len).ok()?;
        (bytes.len() >= end).then_some(Self {
            opcode: first & 0x0f,
            is_final: first & FINAL != 0,
            is_compressed: first & COMPRESSED != 0,
            mask,
            start,
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_each_length_is_read_back() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'a'; len];
            let mut bytes = Vec::new();
            write_masked(&mut bytes, TEXT, &payload);
            assert_eq!(Header::read(&bytes[..bytes.len() - 1]), None, "{len}");
            let header = Header::read(&bytes).unwrap();
            assert_eq!((header.opcode, header.is_final, header.end), (TEXT, true, bytes.len()));
            unmask(&mut bytes[header.start..], header.mask.unwrap());
            assert_eq!(&bytes[header.start..], payload);

            let mut plain = Vec::new();
            write_plain(&mut plain, BINARY, [b"", &payload, b""]);
            let header = Header::read(&plain).unwrap();
            assert_eq!((header.opcode, header.mask), (BINARY, None));
            assert_eq!(&plain[header.start..header.end], payload);
        }
    }
}
