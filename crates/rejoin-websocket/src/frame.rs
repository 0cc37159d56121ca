//! Frames from a server: encoded once and shared by all sockets.

mod deflate;

use bytes::Bytes;

pub use self::deflate::{deflate, deflate_payload};
use crate::{
    decoder::{self, MASKED, MAX_CONTROL_BYTES},
    event::MessageKind,
};

const FINAL: u8 = 0x80;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Encodes one message as one frame; the payload is the concatenation of `parts`.
///
/// Header and payload share one allocation. The caller must ensure that the payload of a text
/// message is UTF-8; this function does not check it.
pub fn encode(kind: MessageKind, parts: &[&[u8]]) -> Bytes {
    frame(kind.opcode(), parts)
}

/// Returns the kind and the payload of a frame that [`encode`] built, without copying.
///
/// Returns `None` for anything else: control frames, compressed frames, fragments, several frames.
pub fn payload(frame: &Bytes) -> Option<(MessageKind, Bytes)> {
    // The first byte must be exactly one that `encode` writes: final, without reserved bits.
    let &[first, second, ref extended @ ..] = frame.as_ref() else { return None };
    let kind = [MessageKind::Text, MessageKind::Binary]
        .into_iter()
        .find(|kind| first == FINAL | kind.opcode())?;
    if second & MASKED != 0 {
        return None;
    }

    // Bytes after the frame mean several frames.
    let (length, header_len) = decoder::length(second, extended).ok()??;
    let payload_len = frame.len() - header_len;
    (length == payload_len as u64).then(|| (kind, frame.slice(header_len..)))
}

/// Returns the length of an unmasked frame's header: 2, 4 or 10 bytes.
pub fn header_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

/// Encodes a ping; the payload is cut to 125 bytes.
pub fn ping(payload: &[u8]) -> Bytes {
    frame(PING, &[cut(payload)])
}

/// Encodes a pong; the payload is cut to 125 bytes.
pub fn pong(payload: &[u8]) -> Bytes {
    frame(PONG, &[cut(payload)])
}

/// Encodes a close; the reason is cut to at most 123 bytes, at a character boundary.
///
/// `code` must be 1000–1003, 1007–1014 or 3000–4999 (RFC 6455 §7.4).
pub fn close(code: u16, reason: &str) -> Bytes {
    // The reason must stay UTF-8 (RFC 6455 §5.5.1), so it is not cut inside a character.
    let code = code.to_be_bytes();
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL_BYTES - code.len())];
    frame(CLOSE, &[&code, reason.as_bytes()])
}

/// Encodes a final frame; `first` contains the opcode and the reserved bits.
fn frame(first: u8, parts: &[&[u8]]) -> Bytes {
    let payload_len = parts.iter().map(|part| part.len()).sum();
    let header_len = header_len(payload_len);

    // The capacity must be exact: with spare capacity, `Bytes` reallocates and copies the frame.
    let mut frame = Vec::with_capacity(header_len + payload_len);
    let length = (payload_len as u64).to_be_bytes();
    frame.push(FINAL | first);

    match header_len {
        2 => frame.push(length[7]),
        4 => {
            frame.push(126);
            frame.extend_from_slice(&length[6..]);
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&length);
        }
    }

    for part in parts {
        frame.extend_from_slice(part);
    }

    frame.into()
}

fn cut(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(MAX_CONTROL_BYTES)]
}
