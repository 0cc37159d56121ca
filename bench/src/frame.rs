//! WebSocket frames (RFC 6455), as far as a load generator needs them.

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

/// The longest message of any benchmark, compressed or not.
pub(crate) const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// The flag of the last frame of a message.
pub(crate) const FINAL: u8 = 0x80;
/// The flag of a compressed message (RFC 7692 §6).
pub(crate) const COMPRESSED: u8 = 0x40;
const MASKED: u8 = 0x80;
/// A constant key: masking protects proxies, and a benchmark has none.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Appends one masked frame that is a whole message.
pub(crate) fn write_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    write_masked_flags(out, FINAL | opcode, payload);
}

/// Appends one masked frame with these flags and opcode in its first byte.
pub(crate) fn write_masked_flags(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    write_header(out, first, payload.len(), MASKED);
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Appends one unmasked frame whose payload is the concatenated parts.
pub(crate) fn write_plain(out: &mut Vec<u8>, opcode: u8, parts: &[&[u8]]) {
    write_header(out, FINAL | opcode, parts.iter().map(|part| part.len()).sum(), 0);
    for part in parts {
        out.extend_from_slice(part);
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

/// The header of a complete frame, with indices into the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) opcode: u8,
    pub(crate) is_compressed: bool,
    /// The index of the payload.
    pub(crate) start: usize,
    /// The index after the payload.
    pub(crate) end: usize,
}

impl Header {
    /// Parses the first frame of a server; returns `None` until all of it has arrived.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        // A server's frames are not masked, so the second byte is the length.
        let [first, second, rest @ ..] = bytes else { return None };
        // Lengths above 125 follow in 16 or 64 bits (RFC 6455 §5.2).
        let (len, start) = match second {
            126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
            short => (u64::from(*short), 2),
        };

        let end = start + usize::try_from(len).ok()?;
        (bytes.len() >= end).then_some(Self {
            opcode: first & 0x0f,
            is_compressed: first & COMPRESSED != 0,
            start,
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use rejoin_websocket::{Decoder, Event, Side};

    use super::*;

    #[test]
    fn frames_of_each_length_encoding_are_read_back() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'a'; len];
            let (mut masked, mut plain) = (Vec::new(), Vec::new());

            write_masked(&mut masked, BINARY, &payload);
            write_plain(&mut plain, BINARY, &[&payload]);

            let mut decoder = Decoder::new(Side::Server, len);
            assert_eq!(decoder.feed(&mut masked).next(), Ok(Some(Event::Binary(&payload))));
            assert_eq!(Header::read(&plain[..plain.len() - 1]), None, "{len}");
            let header = Header::read(&plain).unwrap();
            assert_eq!((header.opcode, header.end), (BINARY, plain.len()));
            assert_eq!(&plain[header.start..], payload);
        }
    }
}
