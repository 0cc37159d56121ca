//! Compressed variants of frames, inflated by miniz_oxide.

use std::thread;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use rejoin_websocket::{
    Decoder, MessageKind, Side, close, deflate, encode, header_len, payload, ping, pong,
};

use crate::{
    heap::usage,
    peer,
    wire::{Message, feed},
};

const MAX: usize = 1 << 20;

fn client() -> Decoder {
    Decoder::new(Side::Client, MAX).with_deflate()
}

/// Returns JSON of this length, partly repetitive like real messages.
fn json(len: usize) -> String {
    let mut text = String::new();
    for n in 0.. {
        text.push_str(&format!(r#"{{"id":{},"type":"event"}},"#, n * n * 7919_u64));
        if text.len() >= len {
            break;
        }
    }

    text.truncate(len);
    text
}

/// Asserts that a client decodes the same message from a frame and its compressed variant.
#[track_caller]
fn assert_same_message(plain: &Bytes) -> Option<Bytes> {
    let compressed = deflate(plain)?;
    assert!(compressed.len() < plain.len());
    let (kind, payload) = payload(plain).expect("a data frame");
    let first = match kind {
        MessageKind::Text => 0xC1,
        MessageKind::Binary => 0xC2,
    };

    assert_eq!(compressed[0], first);
    let header = [2, 4, 10].into_iter().find(|len| header_len(compressed.len() - len) == *len);
    let body = &compressed[header.expect("a frame")..];
    assert_eq!(peer::inflated(body, MAX).as_deref(), Some(payload.as_ref()));
    assert_eq!(feed(&mut client(), &compressed), feed(&mut client(), plain));

    Some(compressed)
}

#[test]
fn a_compressed_frame_decodes_like_the_plain_one() {
    for len in [256, 1000, 5000, 70_000, 500_000] {
        let text = json(len);
        let plain = encode(MessageKind::Text, &[text.as_bytes()]);
        let compressed = assert_same_message(&plain).expect("it compresses");

        assert!(compressed.len() < plain.len() / 10 * 8, "{} of {len}", compressed.len());
        assert_eq!(feed(&mut client(), &compressed).0, [Message::Text(text)]);
    }

    let zeros = encode(MessageKind::Binary, &[&[0; 100_000]]);
    assert!(assert_same_message(&zeros).is_some_and(|compressed| compressed.len() < 200));
}

#[test]
fn a_small_frame_stays_plain() {
    assert_eq!(deflate(&encode(MessageKind::Text, &[&[b'a'; 251]])), None);
    assert!(deflate(&encode(MessageKind::Text, &[&[b'a'; 252]])).is_some());
    assert_eq!(deflate(&encode(MessageKind::Text, &[])), None);
}

/// Returns incompressible bytes.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn an_incompressible_frame_stays_plain() {
    let noise = noise(100_000);
    for len in [256, 1000, 65_535, 65_536, 100_000] {
        assert_eq!(deflate(&encode(MessageKind::Binary, &[&noise[..len]])), None, "{len}");
    }
}

#[test]
fn incompressible_frames_do_not_affect_later_frames() {
    let text = encode(MessageKind::Text, &[json(1000).as_bytes()]);
    let variant = deflate(&text);
    let noise = encode(MessageKind::Binary, &[&noise(1000)]);

    // Each of these frames leaves the compressor with pending output; see `frame/deflate.rs`.
    for _ in 0..300 {
        assert_eq!(deflate(&noise), None);
    }

    assert_eq!(deflate(&text), variant);
}

#[test]
fn only_complete_plain_unmasked_data_frames_have_a_payload() {
    let data = encode(MessageKind::Text, &[&[b'a'; 300]]);
    assert_eq!(payload(&data), Some((MessageKind::Text, data.slice(4..))));
    // The payload is a slice of the frame, not a copy.
    assert_eq!(payload(&data).map(|(_, payload)| payload.as_ptr()), Some(data[4..].as_ptr()));

    for len in [0, 1, 125, 126, 65_535, 65_536] {
        let bytes = vec![7; len];
        let frame = encode(MessageKind::Binary, &[&bytes]);

        assert_eq!(payload(&frame), Some((MessageKind::Binary, bytes.into())));
    }

    let with_first = |first: u8| Bytes::from([&[first], &data[1..]].concat());
    let compressed = deflate(&data).expect("it compresses");
    // 254 bytes follow the first two: the second byte's value, if its mask bit counts as length.
    let masked = [&[0x81, 0x80 | 126, 0, 248][..], &[0; 4 + 248]].concat();

    for other in [
        compressed,
        ping(&[1; 125]),
        pong(&[1; 125]),
        close(1000, &"x".repeat(120)),
        with_first(0x01),
        with_first(0x80),
        with_first(0x91),
        with_first(0x8B),
        masked.into(),
        [data.clone(), data.clone()].concat().into(),
        data.slice(..303),
        data.slice(..1),
        Bytes::new(),
    ] {
        assert_eq!(payload(&other), None, "{other:x?}");
        assert_eq!(deflate(&other), None, "{other:x?}");
    }
}

#[test]
fn a_variant_depends_on_its_frame_only() {
    let frame = encode(MessageKind::Text, &[json(2000).as_bytes()]);
    let first = deflate(&frame);

    assert!(first.is_some());
    let noise = encode(MessageKind::Binary, &[&json(60_000).into_bytes()]);

    for _ in 0..3 {
        assert!(deflate(&noise).is_some());
        assert_eq!(deflate(&frame), first);
    }

    let other_thread = frame.clone();
    assert_eq!(thread::spawn(move || deflate(&other_thread)).join().ok(), Some(first));
}

#[test]
fn a_variant_is_one_allocation_of_exact_size() {
    let frame = encode(MessageKind::Text, &[json(20_000).as_bytes()]);
    let len = deflate(&frame).map(|variant| variant.len());
    let mut variant = None;
    let used = usage(|| variant = deflate(&frame));
    assert_eq!(Some(used.kept), len);
    assert!(used.peak <= frame.len() / 8 * 9 + 100 + used.kept, "{used:?}");
}

proptest! {
    #[test]
    fn any_frame_decodes_like_its_variant(
        pieces in vec(prop_oneof![vec(any::<u8>(), 0..300), vec(0..4u8, 0..2000)], 0..6),
        repeats in 1..4usize,
    ) {
        let plain = encode(MessageKind::Binary, &[&pieces.concat().repeat(repeats)]);
        assert_same_message(&plain);
    }
}
