//! Frames for the server.

use serde_json::{Value, json};

use super::{BINARY, TEXT};

/// Encodes a message of `rejoin.v1` as a text frame. Its id is its type.
pub(crate) fn message(kind: &str, payload: Value) -> Vec<u8> {
    message_with_id(kind, kind, payload)
}

#[expect(clippy::needless_pass_by_value, reason = "callers create it in place")]
pub(crate) fn message_with_id(id: &str, kind: &str, payload: Value) -> Vec<u8> {
    let message = json!({ "id": id, "type": kind, "payload": payload });
    frame(TEXT, message.to_string().as_bytes())
}

/// Encodes a binary frame.
pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    frame(BINARY, bytes)
}

/// Encodes a binary frame that is not an input. The server closes with 4505.
pub(crate) fn invalid_input() -> Vec<u8> {
    binary(&[0xff])
}

/// Encodes a masked frame.
pub(super) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];

    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(length @ 0..126) => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }

    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
