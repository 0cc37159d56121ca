//! Decompression of messages (RFC 7692).

use rejoin_websocket::{Decoder, Event, Side};

/// Returns the payload of a compressed message, whose first byte is `first`.
pub(super) fn inflate(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u64::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = [&[first, 127], &length[..], payload].concat();
    // 127 announces a length of 64 bits, which must not be used for a short message.
    match u16::try_from(payload.len()) {
        Ok(length @ ..126) => frame.splice(1..10, [length.to_be_bytes()[1]]).count(),
        Ok(length) => frame.splice(1..10, [126].into_iter().chain(length.to_be_bytes())).count(),
        Err(_) => 0,
    };

    let mut decoder = Decoder::new(Side::Client, 16 << 20).with_deflate();
    match decoder.feed(&mut frame).next().unwrap() {
        Some(Event::Text(text)) => text.as_bytes().to_vec(),
        Some(Event::Binary(bytes)) => bytes.to_vec(),
        event => panic!("{event:?}"),
    }
}
