//! Any bytes at any splits decode as in one piece, and as the oracle decodes them.
#![no_main]

#[path = "../../tests/it/agreement.rs"]
mod agreement;
#[path = "../../tests/it/wire.rs"]
#[expect(dead_code, reason = "shared with the integration tests")]
mod wire;

use libfuzzer_sys::fuzz_target;
use rejoin_websocket::{Decoder, Role};

/// The bytes of each input that say how to decode the rest.
const SETTINGS: usize = 6;

fuzz_target!(|data: &[u8]| {
    let Some((&[settings, ref gaps @ ..], bytes)) = data.split_first_chunk::<SETTINGS>() else {
        return;
    };
    let role = if settings & 1 == 0 { Role::Server } else { Role::Client };
    let limit = 125 + usize::from(settings >> 1) * 16;

    let mut cuts = Vec::new();
    let mut at = 0;
    for gap in gaps.iter().cycle() {
        at += usize::from(*gap).max(1);
        if at >= bytes.len() {
            break;
        }
        cuts.push(at);
    }
    let mut whole = Decoder::new(role, limit);
    let mut pieces = Decoder::new(role, limit);
    assert_eq!(wire::feed(&mut whole, bytes), wire::feed_cut(&mut pieces, bytes, &cuts));
    assert_eq!(whole.is_idle(), pieces.is_idle());

    agreement::assert_agreement(role, bytes, limit);
});
