//! Property tests: any split of the input, and agreement with tungstenite on any bytes.

use proptest::{collection::vec, prelude::*, sample::Index};
use rejoin_websocket::{Decoder, Side};

use crate::{
    agreement::{assert_agreement, oracle},
    stream::{any_side, cuts, damaged, garbage, valid},
    wire::{feed, feed_cut},
};

const LIMIT: usize = 1 << 20;
/// A limit that many of the messages exceed.
const SMALL_LIMIT: usize = 300;

fn any_bytes() -> impl Strategy<Value = (Side, Vec<u8>)> {
    any_side().prop_flat_map(|side| (Just(side), prop_oneof![damaged(side), garbage(side)]))
}

// Few cuts leave long pieces; many cuts split nearly every header.
fn any_cuts() -> impl Strategy<Value = Vec<Index>> {
    prop_oneof![vec(any::<Index>(), 0..4), vec(any::<Index>(), 0..200)]
}

proptest! {
    #[test]
    fn valid_frames_decode_to_the_sent_messages_at_any_split(
        (side, stream) in any_side().prop_flat_map(|side| (Just(side), valid(side))),
        indexes in any_cuts(),
    ) {
        let cuts = cuts(&indexes, stream.bytes.len());
        let mut decoder = Decoder::new(side, LIMIT);
        let (messages, error) = feed_cut(&mut decoder, &stream.bytes, &cuts);

        prop_assert_eq!(error, None);
        prop_assert!(decoder.is_idle());
        prop_assert_eq!(&messages, &stream.messages);

        let (theirs, error) = oracle(side, &stream.bytes, LIMIT);
        prop_assert!(error.is_none());
        prop_assert_eq!(messages, theirs);
    }

    #[test]
    fn a_split_does_not_change_the_result(
        (side, bytes) in any_bytes(),
        indexes in any_cuts(),
        limit in prop_oneof![0..SMALL_LIMIT, Just(LIMIT)],
    ) {
        let cuts = cuts(&indexes, bytes.len());
        let mut whole = Decoder::new(side, limit);
        let mut pieces = Decoder::new(side, limit);
        prop_assert_eq!(feed(&mut whole, &bytes), feed_cut(&mut pieces, &bytes, &cuts));
        prop_assert_eq!(whole.is_idle(), pieces.is_idle());
    }

    #[test]
    fn damaged_streams_are_accepted_if_tungstenite_accepts_them(
        (side, bytes) in any_side().prop_flat_map(|side| (Just(side), damaged(side))),
        limit in proptest::sample::select(vec![SMALL_LIMIT, LIMIT]),
    ) {
        assert_agreement(side, &bytes, limit);
    }

    #[test]
    fn garbage_is_accepted_if_tungstenite_accepts_it(
        (side, bytes) in any_side().prop_flat_map(|side| (Just(side), garbage(side))),
        limit in proptest::sample::select(vec![SMALL_LIMIT, 1000]),
    ) {
        assert_agreement(side, &bytes, limit);
    }
}
