//! A server's frames: encoded once, shared by every socket that they go to.

mod deflate;

use bytes::Bytes;

pub use self::deflate::deflate;
use crate::decoder::{self, MASKED, MAX_CONTROL_BYTES};

const FINAL: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// The kind of a data message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

impl MessageKind {
    fn opcode(self) -> u8 {
        match self {
            Self::Text => TEXT,
            Self::Binary => BINARY,
        }
    }
}

/// Encodes one message in one frame, its payload being `parts` one after another.
///
/// Header and payload share one allocation. That the parts of a text message are UTF-8 together is
/// the caller's part of the contract; it is not checked.
pub fn encode(kind: MessageKind, parts: &[&[u8]]) -> Bytes {
    frame(kind.opcode(), parts)
}

/// Gives the kind and the payload of a frame that [`encode`] made, without copying.
///
/// `None` for everything else: control frames, compressed frames, fragments, several frames.
pub fn payload(frame: &Bytes) -> Option<(MessageKind, Bytes)> {
    let &[first, second, ref extended @ ..] = frame.as_ref() else { return None };
    let kind = [MessageKind::Text, MessageKind::Binary]
        .into_iter()
        .find(|kind| first == FINAL | kind.opcode())?;
    if second & MASKED != 0 {
        return None;
    }
    let (length, header_len) = decoder::length(second, extended).ok()??;
    let payload_len = frame.len() - header_len;
    (length == payload_len as u64).then(|| (kind, frame.slice(header_len..)))
}

/// Gives the length of an unmasked frame's header: 2, 4 or 10 bytes.
pub fn header_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

/// Encodes a ping; a payload over 125 bytes is cut there.
pub fn ping(payload: &[u8]) -> Bytes {
    frame(PING, &[cut(payload)])
}

/// Encodes a pong; a payload over 125 bytes is cut there.
pub fn pong(payload: &[u8]) -> Bytes {
    frame(PONG, &[cut(payload)])
}

/// Encodes a close; a reason over 123 bytes is cut at the character boundary before.
///
/// `code` is one that may be sent: 1000–1003, 1007–1014 or 3000–4999 (RFC 6455 §7.4).
pub fn close(code: u16, reason: &str) -> Bytes {
    let code = code.to_be_bytes();
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL_BYTES - code.len())];
    frame(CLOSE, &[&code, reason.as_bytes()])
}

/// Encodes a final frame; `first` is its opcode and its reserved bits.
fn frame(first: u8, parts: &[&[u8]]) -> Bytes {
    let payload_len = parts.iter().map(|part| part.len()).sum();
    let header_len = header_len(payload_len);
    // The exact capacity: `Bytes` would copy the frame to shed any excess.
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
