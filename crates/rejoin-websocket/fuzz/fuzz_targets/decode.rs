//! Any bytes at any split decode as in one piece, and as tungstenite and miniz_oxide decode them.
#![no_main]

#[path = "../../tests/it/agreement.rs"]
mod agreement;
#[path = "../../tests/it/peer.rs"]
mod peer;
#[path = "../../tests/it/wire.rs"]
#[expect(dead_code, reason = "shared with the integration tests")]
mod wire;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rejoin_websocket::{Decoder, MessageKind, Side, deflate, encode};

use self::wire::Message;

/// The number of bytes of each input that select how to decode the rest.
const SETTINGS: usize = 6;
/// The first byte of a compressed binary message.
const COMPRESSED: u8 = 0xC2;
const MAX_INFLATED_BYTES: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let Some((&[settings, ref gaps @ ..], bytes)) = data.split_first_chunk::<SETTINGS>() else {
        return;
    };
    let side = if settings & 1 == 0 { Side::Server } else { Side::Client };
    let deflates = settings & 2 != 0;
    let limit = 125 + usize::from(settings >> 2) * 32;
    let decoder = || match Decoder::new(side, limit) {
        decoder if deflates => decoder.with_deflate(),
        decoder => decoder,
    };

    let mut cuts = Vec::new();
    let mut at = 0;
    for gap in gaps.iter().cycle() {
        at += usize::from(*gap).max(1);
        if at >= bytes.len() {
            break;
        }
        cuts.push(at);
    }

    let (mut whole, mut pieces) = (decoder(), decoder());
    assert_eq!(wire::feed(&mut whole, bytes), wire::feed_cut(&mut pieces, bytes, &cuts));
    assert_eq!(whole.is_idle(), pieces.is_idle());

    if deflates {
        assert_inflates_like_the_peer(bytes);
        assert_decodes_like_its_variant(bytes);
    } else {
        agreement::assert_agreement(side, bytes, limit);
    }
});

/// Uses the bytes as the payload of a compressed message.
fn assert_inflates_like_the_peer(bytes: &[u8]) {
    let frame = wire::frame(COMPRESSED, bytes, None);
    let mut client = Decoder::new(Side::Client, MAX_INFLATED_BYTES).with_deflate();
    let ours = wire::feed(&mut client, &frame).0.pop();
    let theirs = peer::inflated(bytes, MAX_INFLATED_BYTES).map(Message::Binary);
    assert_eq!(ours, theirs);
}

/// Uses the bytes as a message to send: once, and twice so that they compress.
fn assert_decodes_like_its_variant(bytes: &[u8]) {
    for parts in [&[bytes][..], &[bytes, &[0; 200], bytes]] {
        let plain: Bytes = encode(MessageKind::Binary, parts);
        let Some(variant) = deflate(&plain) else { continue };
        assert!(variant.len() < plain.len());
        let client = || Decoder::new(Side::Client, plain.len()).with_deflate();
        assert_eq!(wire::feed(&mut client(), &variant), wire::feed(&mut client(), &plain));
    }
}
