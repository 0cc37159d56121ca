//! Allocations that a peer can cause.

use rejoin_websocket::{Decoder, Error, Side};

use crate::{
    heap::{Usage, usage},
    wire::{BINARY, FIRST_BINARY, FIRST_TEXT, KEY, LAST, MIDDLE, PING, TEXT, masked},
};

const NOTHING: Usage = Usage { peak: 0, kept: 0 };

/// Decodes `input` in place, so that only the decoder allocates.
fn drain(decoder: &mut Decoder, input: &mut [u8]) -> Result<usize, Error> {
    let mut feed = decoder.feed(input);
    let mut events = 0;
    while feed.next()?.is_some() {
        events += 1;
    }
    Ok(events)
}

#[test]
fn complete_messages_allocate_nothing() {
    let mut input = [masked(TEXT, &[b'a'; 5000]), masked(PING, b"b"), masked(BINARY, b"")].concat();
    let mut decoder = Decoder::new(Side::Server, 5000);
    assert_eq!(usage(|| assert_eq!(drain(&mut decoder, &mut input), Ok(3))), NOTHING);
}

#[test]
fn a_header_in_pieces_allocates_nothing() {
    // The longest header: a 64-bit length and a mask key.
    let mut input = masked(BINARY, &[0; 70_000]);
    input.truncate(14);
    let mut decoder = Decoder::new(Side::Server, 70_000);
    let used = usage(|| {
        for byte in input.chunks_mut(1) {
            assert_eq!(drain(&mut decoder, byte), Ok(0));
        }
    });

    assert_eq!(used, NOTHING);
    assert!(!decoder.is_idle());
}

#[test]
fn a_header_that_declares_2_to_the_62_allocates_nothing() {
    let mut declared = [&[BINARY, 0xFF, 0x40, 0, 0, 0, 0, 0, 0, 0][..], &KEY, &[1; 100]].concat();
    let mut bounded = Decoder::new(Side::Server, 1 << 20);
    let mut input = declared.clone();
    let used = usage(|| assert_eq!(drain(&mut bounded, &mut input), Err(Error::MessageTooLong)));

    assert_eq!(used, NOTHING);
    // Even without a limit, memory follows the bytes that arrived.
    let mut unbounded = Decoder::new(Side::Server, usize::MAX);
    let used = usage(|| assert_eq!(drain(&mut unbounded, &mut declared), Ok(0)));

    assert_eq!(used, Usage { peak: 100, kept: 100 });
}

#[test]
fn a_message_in_pieces_owns_at_most_twice_its_bytes() {
    let len = 100_000;
    for first in [TEXT, FIRST_TEXT] {
        for size in [1, 7, 1000, 4096] {
            let mut decoder = Decoder::new(Side::Server, len);
            // One byte is missing, so the decoder must keep everything.
            let mut input = masked(first, &vec![b'a'; len]);
            input.pop();
            let mut arrived = 0;
            let mut owned = 0;

            for piece in input.chunks_mut(size) {
                arrived += piece.len();
                let used = usage(|| assert_eq!(drain(&mut decoder, piece), Ok(0)));
                owned += used.kept;

                assert!(owned <= 2 * arrived, "{owned} bytes for {arrived}");
                assert!(owned <= len, "{owned} bytes of at most {len}");
            }
        }
    }
}

#[test]
fn the_last_growth_reserves_the_exact_message_size() {
    let mut input = masked(BINARY, &[0; 150]);
    let (begin, rest) = input.split_at_mut(8 + 100);
    let (middle, end) = rest.split_at_mut(49);
    let mut decoder = Decoder::new(Side::Server, 1 << 20);
    let used = usage(|| {
        assert_eq!(drain(&mut decoder, begin), Ok(0));
        assert_eq!(drain(&mut decoder, middle), Ok(0));
    });

    assert_eq!(used.kept, 150);
    assert_eq!(usage(|| assert_eq!(drain(&mut decoder, end), Ok(1))).peak, 0);
}

#[test]
fn the_memory_of_a_message_is_freed_with_it() {
    let fragmented = [
        masked(FIRST_TEXT, &[b'a'; 3000]),
        masked(PING, b"between"),
        masked(MIDDLE, &[b'b'; 3000]),
        masked(LAST, &[b'c'; 3000]),
    ]
    .concat();
    let split = masked(TEXT, &[b'a'; 9000]);
    let ping = masked(PING, &[1; 125]);

    for (bytes, events) in [(fragmented, 2), (split, 1), (ping, 1)] {
        for size in [1, 50, 2000, 20_000] {
            let mut input = bytes.clone();
            let mut decoder = Decoder::new(Side::Server, 9000);
            let used = usage(|| {
                let decoded: usize =
                    input.chunks_mut(size).map(|piece| drain(&mut decoder, piece).unwrap()).sum();
                assert_eq!(decoded, events);
            });

            assert_eq!(used.kept, 0, "in pieces of {size}");
            assert!(used.peak <= 9000 + 125 + 9000 / 2 * 3, "{used:?}");
            assert!(decoder.is_idle());
        }
    }
}

#[test]
fn a_violation_or_a_close_frees_the_buffer() {
    for end in [vec![0xFF], masked(0x88, b""), masked(0x88, b"\0\0")] {
        let mut begin = masked(FIRST_BINARY, &[0; 5000]);
        let mut end = end;
        let mut decoder = Decoder::new(Side::Server, 9000);
        let used = usage(|| {
            assert_eq!(drain(&mut decoder, &mut begin), Ok(0));
            let first = drain(&mut decoder, &mut end);

            assert_eq!(drain(&mut decoder, &mut []).err(), first.err());
        });
        assert_eq!((used.peak, used.kept), (5000, 0));
    }
}

#[test]
fn a_flood_of_empty_fragments_allocates_nothing() {
    let mut input = masked(FIRST_TEXT, b"");
    for _ in 0..100_000 {
        input.extend(masked(MIDDLE, b""));
    }
    let mut decoder = Decoder::new(Side::Server, 9000);
    assert_eq!(usage(|| assert_eq!(drain(&mut decoder, &mut input), Ok(0))), NOTHING);
}

#[test]
fn a_flood_of_tiny_fragments_reallocates_rarely() {
    let mut input = masked(FIRST_BINARY, b"");
    for _ in 0..50_000 {
        input.extend(masked(MIDDLE, b"x"));
    }

    let mut decoder = Decoder::new(Side::Server, 1 << 20);
    let mut growths = 0;

    for fragment in input.chunks_mut(700) {
        let used = usage(|| assert_eq!(drain(&mut decoder, fragment), Ok(0)));
        growths += usize::from(used.kept > 0);
    }

    assert!(growths <= 20, "{growths}");
}

#[test]
fn a_message_of_exactly_the_limit_is_accepted() {
    for max in [0, 1, 125, 126, 65_535, 65_536] {
        let mut decoder = Decoder::new(Side::Server, max);
        assert_eq!(drain(&mut decoder, &mut masked(BINARY, &vec![0; max])), Ok(1));

        let over = drain(&mut decoder, &mut masked(BINARY, &vec![0; max + 1]));
        assert_eq!(over, Err(Error::MessageTooLong));
        assert_eq!(Error::MessageTooLong.close_code(), 1009);
    }
}

#[test]
fn a_changed_limit_applies_from_the_next_header() {
    let mut decoder = Decoder::new(Side::Server, 10);
    let mut frame = masked(FIRST_BINARY, &[0; 10]);
    let (begin, end) = frame.split_at_mut(9);

    assert_eq!(drain(&mut decoder, begin), Ok(0));
    decoder.set_max_message_bytes(5);

    assert_eq!(drain(&mut decoder, end), Ok(0));
    assert_eq!(drain(&mut decoder, &mut masked(MIDDLE, b"x")), Err(Error::MessageTooLong));
}
