//! Compressed messages from a client that uses miniz_oxide.

use proptest::{collection::vec, prelude::*, sample::Index};
use rejoin_websocket::{Decoder, Error, Side};

use crate::{
    heap::usage,
    peer,
    stream::cuts,
    wire::{
        BINARY, CLOSE, FIRST_BINARY, FIRST_TEXT, LAST, MIDDLE, Message, PING, PONG, TEXT, feed,
        feed_cut, frame, masked,
    },
};

/// The reserved bit of permessage-deflate.
const COMPRESSED: u8 = 0x40;
const LIMIT: usize = 1 << 20;
/// The size of the inflate state.
const STATE_BYTES: usize = 48 << 10;

fn server(limit: usize) -> Decoder {
    Decoder::new(Side::Server, limit).with_deflate()
}

/// Returns the message that a server decodes from a compressed binary frame.
fn read(payload: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let (mut messages, error) = feed(&mut server(limit), &masked(BINARY | COMPRESSED, payload));
    match (messages.pop(), error) {
        (Some(Message::Binary(payload)), None) => Ok(payload),
        (None, Some(error)) => Err(error),
        other => unreachable!("expected one message or one error: {other:?}"),
    }
}

/// Returns a compressed message in frames, cut at each of `indexes`, with a ping after each cut.
fn fragments(first: u8, payload: &[u8], indexes: &[Index]) -> Vec<u8> {
    let (mut bytes, mut first, mut from) = (Vec::new(), first | COMPRESSED, 0);
    for to in cuts(indexes, payload.len()) {
        bytes.extend(masked(first, &payload[from..to]));
        bytes.extend(masked(PING, b"between"));
        (first, from) = (MIDDLE, to);
    }

    bytes.extend(masked(first | 0x80, &payload[from..]));
    bytes
}

#[test]
fn the_examples_of_the_rfc_are_decoded() {
    // RFC 7692 §7.2.3.1, .3, .4, .5 and, for the empty message, .6.
    let examples: [(&[u8], &[u8]); 5] = [
        (b"\xF2\x48\xCD\xC9\xC9\x07\x00", b"Hello"),
        (b"\x00\x05\x00\xFA\xFFHello\x00", b"Hello"),
        (b"\xF3\x48\xCD\xC9\xC9\x07\x00\x00", b"Hello"),
        (b"\xF2\x48\x05\x00\x00\x00\xFF\xFF\xCA\xC9\xC9\x07\x00", b"Hello"),
        (b"\x00", b""),
    ];
    for (compressed, message) in examples {
        assert_eq!(read(compressed, 20).as_deref(), Ok(message), "{compressed:x?}");
    }

    let fragmented =
        [masked(FIRST_TEXT | COMPRESSED, b"\xF2\x48\xCD"), masked(LAST, b"\xC9\xC9\x07\x00")];
    let hello = vec![Message::Text("Hello".into())];

    assert_eq!(feed(&mut server(100), &fragmented.concat()), (hello, None));
}

#[test]
fn a_message_cannot_refer_to_the_previous_one() {
    // RFC 7692 §7.2.3.2: the second "Hello" from a client that keeps its context.
    let bytes = [
        masked(TEXT | COMPRESSED, b"\xF2\x48\xCD\xC9\xC9\x07\x00"),
        masked(TEXT | COMPRESSED, b"\xF2\x00\x11\x00\x00"),
    ];
    let hello = vec![Message::Text("Hello".into())];
    let read = feed(&mut server(100), &bytes.concat());

    assert_eq!(read, (hello, Some(Error::InvalidDeflate)));
}

#[test]
fn plain_and_compressed_messages_may_alternate() {
    let bytes = [
        masked(TEXT, b"plain"),
        masked(TEXT | COMPRESSED, &peer::compressed(b"compressed", 6)),
        masked(FIRST_TEXT, b"pl"),
        masked(LAST, b"ain"),
        fragments(FIRST_TEXT, &peer::compressed(b"compressed", 6), &[]),
        masked(BINARY, &peer::compressed(b"plain", 6)),
    ];
    let (messages, error) = feed(&mut server(100), &bytes.concat());

    assert_eq!(error, None);
    let texts = ["plain", "compressed"].map(|text| Message::Text(text.into()));
    let [plain, compressed] = &texts;
    let binary = Message::Binary(peer::compressed(b"plain", 6));

    assert_eq!(
        messages,
        [plain.clone(), compressed.clone(), plain.clone(), compressed.clone(), binary]
    );
}

#[test]
fn a_client_reads_compressed_messages() {
    let bytes = frame(TEXT | COMPRESSED, &peer::compressed(b"text", 6), None);
    let mut decoder = Decoder::new(Side::Client, 100).with_deflate();
    assert_eq!(feed(&mut decoder, &bytes), (vec![Message::Text("text".into())], None));
}

#[test]
fn only_the_first_data_frame_may_have_the_compressed_bit() {
    let begun = masked(FIRST_TEXT | COMPRESSED, b"");
    for (before, first, error) in [
        (&[][..], CLOSE, Error::ReservedBits),
        (&[], PING, Error::ReservedBits),
        (&[], PONG, Error::ReservedBits),
        (&[], MIDDLE, Error::ReservedBits),
        (&[], 0x83, Error::ReservedBits),
        (&begun, MIDDLE, Error::ReservedBits),
        (&begun, LAST, Error::ReservedBits),
        (&begun, PING, Error::ReservedBits),
        (&begun, TEXT, Error::ExpectedContinuation),
    ] {
        let bytes = [before, &[first | COMPRESSED]].concat();
        assert_eq!(feed(&mut server(100), &bytes), (Vec::new(), Some(error)), "{first:x}");
    }

    for bits in [0x10, 0x20, 0x30, 0x50, 0x60, 0x70] {
        let read = feed(&mut server(100), &[TEXT | bits]);
        assert_eq!(read, (Vec::new(), Some(Error::ReservedBits)), "{bits:x}");
    }
}

#[test]
fn a_compressed_message_without_negotiation_is_refused() {
    for first in [TEXT, BINARY, FIRST_TEXT, FIRST_BINARY] {
        let mut decoder = Decoder::new(Side::Server, 100);
        let read = feed(&mut decoder, &[first | COMPRESSED]);
        assert_eq!(read, (Vec::new(), Some(Error::ReservedBits)));
    }
}

#[test]
fn utf8_is_checked_after_inflating() {
    let valid = peer::compressed("é€😀".repeat(50).as_bytes(), 6);
    // The compressed bytes are not UTF-8 themselves; a check before inflating would fail.
    assert!(str::from_utf8(&valid).is_err());

    let bytes = fragments(FIRST_TEXT, &valid, &[]);
    let cuts: Vec<_> = (0..bytes.len()).collect();
    let text = vec![Message::Text("é€😀".repeat(50))];

    assert_eq!(feed_cut(&mut server(LIMIT), &bytes, &cuts), (text, None));
    let invalid = masked(TEXT | COMPRESSED, &peer::compressed(b"text \xFF", 6));
    assert_eq!(feed(&mut server(LIMIT), &invalid), (Vec::new(), Some(Error::InvalidText)));
}

#[test]
fn a_truncated_message_is_refused() {
    let text = "some words, some more words and some words again ".repeat(10);
    for level in [1, 6, 9] {
        let whole = peer::compressed(text.as_bytes(), level);
        assert_eq!(read(&whole, LIMIT).as_deref(), Ok(text.as_bytes()));

        for len in 0..whole.len() {
            assert_eq!(read(&whole[..len], LIMIT), Err(Error::InvalidDeflate), "{len}");
        }

        let with_final = peer::compressed_with_final_block(text.as_bytes(), level);
        for len in 0..with_final.len() {
            assert_eq!(read(&with_final[..len], LIMIT), Err(Error::InvalidDeflate), "{len}");
        }
    }

    assert_eq!(Error::InvalidDeflate.close_code(), 1007);
}

#[test]
fn data_that_is_not_deflate_is_refused() {
    for bytes in [&b"\x07"[..], b"not compressed", &[0xFF; 300], b"\x00\x05\x00\x00\x00Hello\x00"] {
        assert_eq!(read(bytes, LIMIT), Err(Error::InvalidDeflate), "{bytes:x?}");
    }
    // Bytes after the end of the compressed data are part of the message, so it is invalid.
    let more = [&peer::compressed(b"whole", 6)[..], b"\xFF"].concat();
    assert_eq!(read(&more, LIMIT), Err(Error::InvalidDeflate));
}

#[test]
fn a_message_that_inflates_to_the_limit_is_accepted() {
    for max in [0, 1, 100, 1023, 1024, 1025, 5000, 300_000] {
        for level in [1, 9] {
            // The compressed form of very short data is longer than the data.
            let limit = max.max(12);
            let most = peer::compressed(&vec![b'a'; limit], level);

            assert_eq!(read(&most, limit).map(|message| message.len()), Ok(limit));
            let more = peer::compressed(&vec![b'a'; limit + 1], level);

            assert_eq!(read(&more, limit), Err(Error::MessageTooLong), "{limit}");
        }
    }

    assert_eq!(read(b"\x00", 1), Ok(Vec::new()));
    assert_eq!(read(b"", 0), Err(Error::InvalidDeflate));
}

#[test]
fn the_limit_applies_to_the_compressed_bytes_too() {
    let read = feed(&mut server(200), &[BINARY | COMPRESSED, 0x80 | 126, 0, 201]);
    assert_eq!(read, (Vec::new(), Some(Error::MessageTooLong)));
}

#[test]
fn a_bomb_allocates_at_most_four_times_its_size() {
    let bomb = peer::compressed(&vec![0; 64 << 20], 9);
    assert!(bomb.len() < 100_000, "{}", bomb.len());

    for limit in [bomb.len(), LIMIT, 16 << 20] {
        let mut decoder = server(limit);
        let mut input = masked(BINARY | COMPRESSED, &bomb);
        let used = usage(|| {
            assert_eq!(decoder.feed(&mut input).next(), Err(Error::MessageTooLong));
        });

        assert!(used.peak <= STATE_BYTES + 4 * bomb.len() + 1, "{used:?}");
        assert!(used.peak <= STATE_BYTES + limit + 1, "{used:?}");
        assert_eq!(used.kept, 0);
    }
}

#[test]
fn a_bomb_is_not_inflated_beyond_the_limit() {
    // If the decoder inflated beyond the limit, it would reach the invalid byte.
    let broken = [&peer::compressed(&vec![0; 1 << 20], 9)[..], b"\xFF"].concat();
    assert_eq!(read(&broken, 1 << 20), Err(Error::InvalidDeflate));
    assert_eq!(read(&broken, 1 << 19), Err(Error::MessageTooLong));
}

#[test]
fn a_message_owns_no_more_than_the_limit() {
    for (len, level) in [(100, 6), (10_000, 0), (10_000, 1), (100_000, 9)] {
        let payload = peer::compressed(&vec![b'x'; len], level);
        let limit = len.max(payload.len());
        let mut decoder = server(limit);
        let mut input = masked(TEXT | COMPRESSED, &payload);
        // Half of the payload, after a header of up to 8 bytes.
        let (begin, end) = input.split_at_mut(payload.len() / 2 + 4);
        let used = usage(|| assert_eq!(decoder.feed(begin).next(), Ok(None)));

        assert!(used.peak <= payload.len(), "no state before the message is whole: {used:?}");
        let used = usage(|| {
            let mut feed = decoder.feed(end);
            assert!(matches!(feed.next(), Ok(Some(_))));
            assert_eq!(feed.next(), Ok(None));
        });

        assert!(used.peak <= payload.len() + limit + 1 + STATE_BYTES, "{used:?}");
        assert!(decoder.is_idle());
    }
}

#[test]
fn the_memory_of_a_compressed_message_is_freed_with_it() {
    let payload = peer::compressed(&[b'x'; 9000], 6);
    for size in [1, 7, 1000] {
        let mut input = [masked(TEXT | COMPRESSED, &payload), masked(PING, b"after")].concat();
        let mut decoder = server(9000);
        let used = usage(|| {
            for piece in input.chunks_mut(size) {
                let mut feed = decoder.feed(piece);
                while feed.next().expect("the message is valid").is_some() {}
            }
        });

        assert_eq!(used.kept, 0);
    }
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..100),
        (any::<u8>(), 0..5000usize).prop_map(|(byte, len)| vec![byte; len]),
        vec(0..4u8, 0..3000),
    ];
    vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_message_is_decoded_at_any_fragmentation_and_split(
        messages in vec((content(), 0..10u8, any::<bool>(), vec(any::<Index>(), 0..4)), 1..4),
        indexes in vec(any::<Index>(), 0..50),
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();

        for (content, level, with_final, cuts) in messages {
            let payload = match with_final {
                true => peer::compressed_with_final_block(&content, level),
                false => peer::compressed(&content, level),
            };

            bytes.extend(fragments(FIRST_BINARY, &payload, &cuts));
            expected.extend(cuts.iter().map(|_| Message::Ping(b"between".into())));
            expected.push(Message::Binary(content));
        }

        let mut decoder = server(LIMIT);
        let read = feed_cut(&mut decoder, &bytes, &cuts(&indexes, bytes.len()));

        prop_assert_eq!(read, (expected, None));
        prop_assert!(decoder.is_idle());
    }

    #[test]
    fn damaged_data_decodes_as_with_miniz_oxide(
        content in content(),
        level in 0..10u8,
        changes in vec((any::<Index>(), any::<u8>(), any::<bool>()), 0..4),
    ) {
        let mut payload = peer::compressed(&content, level);
        for (at, byte, cut) in changes {
            let at = at.index(payload.len() + 1);
            match payload.get_mut(at) {
                Some(_) if cut && byte < 64 => payload.truncate(at),
                Some(changed) => *changed ^= byte,
                None => payload.push(byte),
            }
        }

        let expected = peer::inflated(&payload, LIMIT);
        match read(&payload, LIMIT) {
            Ok(message) => prop_assert_eq!(Some(message), expected),
            Err(Error::InvalidDeflate | Error::MessageTooLong) => prop_assert_eq!(expected, None),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn a_split_does_not_change_the_inflated_result(
        payload in prop_oneof![
            vec(any::<u8>(), 0..100),
            content().prop_map(|content| peer::compressed(&content, 6)),
        ],
        first in proptest::sample::select(vec![FIRST_TEXT, FIRST_BINARY]),
        fragments_at in vec(any::<Index>(), 0..4),
        indexes in vec(any::<Index>(), 0..50),
        limit in prop_oneof![0..300usize, Just(LIMIT)],
    ) {
        let bytes = fragments(first, &payload, &fragments_at);
        let whole = feed(&mut server(limit), &bytes);
        let pieces = feed_cut(&mut server(limit), &bytes, &cuts(&indexes, bytes.len()));
        prop_assert_eq!(whole, pieces);
    }
}
