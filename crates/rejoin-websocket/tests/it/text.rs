//! Incremental checks of UTF-8.

use rejoin_websocket::{Decoder, Error, Side};

use crate::wire::{FIRST_TEXT, LAST, MIDDLE, Message, PING, TEXT, feed, feed_cut, masked};

fn server() -> Decoder {
    Decoder::new(Side::Server, 1 << 20)
}

/// Invalid sequences, each with the index of its first invalid byte.
const BROKEN: [(&[u8], usize); 8] = [
    (b"\x80", 0),             // a continuation byte alone
    (b"\xC0\xAF", 0),         // overlong, two bytes
    (b"\xE0\x80\xAF", 1),     // overlong, three bytes
    (b"\xF0\x80\x80\xAF", 1), // overlong, four bytes
    (b"\xED\xA0\x80", 1),     // a surrogate
    (b"\xF4\x90\x80\x80", 1), // beyond U+10FFFF
    (b"\xF5", 0),             // never a first byte
    (b"ab\xE2\x82b", 4),      // an incomplete character
];

#[test]
fn an_invalid_byte_is_refused_as_soon_as_it_arrives() {
    for (bytes, wrong) in BROKEN {
        for prefix in ["", "text before ", "é", &"x".repeat(200)] {
            let text = [prefix.as_bytes(), bytes, &[b'.'; 500]].concat();
            let frame = masked(TEXT, &text);
            let start = frame.len() - text.len() + prefix.len();
            let mut decoder = server();

            for (at, byte) in frame[..=start + wrong].iter().enumerate() {
                let (_, error) = feed(&mut decoder, &[*byte]);
                let expected = (at == start + wrong).then_some(Error::InvalidText);

                assert_eq!(error, expected, "{bytes:x?} at {at}");
            }
        }
    }
}

#[test]
fn an_invalid_fragment_is_refused_before_the_next_frame() {
    let bytes = [masked(FIRST_TEXT, b"a\xFF"), masked(PING, b"")].concat();
    assert_eq!(feed(&mut server(), &bytes), (Vec::new(), Some(Error::InvalidText)));
}

#[test]
fn a_character_may_span_fragments_and_control_frames() {
    let text = "é€😀";
    let mut bytes = masked(FIRST_TEXT, b"");

    for byte in text.bytes() {
        bytes.extend(masked(MIDDLE, &[byte]));
        // A ping may contain any bytes; they must not mix with the text.
        bytes.extend(masked(PING, b"\xFF"));
    }

    bytes.extend(masked(LAST, b""));
    let (messages, error) = feed(&mut server(), &bytes);

    assert_eq!(error, None);
    assert_eq!(messages.len(), text.len() + 1);
    assert_eq!(messages.last(), Some(&Message::Text(text.into())));
}

#[test]
fn a_message_that_ends_inside_a_character_is_refused() {
    for cut in 1..4 {
        let bytes = &"😀".as_bytes()[..cut];
        let whole = masked(TEXT, bytes);

        assert_eq!(feed(&mut server(), &whole).1, Some(Error::InvalidText));
        let cuts: Vec<_> = (0..whole.len()).collect();

        assert_eq!(feed_cut(&mut server(), &whole, &cuts).1, Some(Error::InvalidText));
        let fragments = [masked(FIRST_TEXT, bytes), masked(LAST, b"")].concat();

        assert_eq!(feed(&mut server(), &fragments).1, Some(Error::InvalidText));
    }

    assert_eq!(Error::InvalidText.close_code(), 1007);
}

#[test]
fn a_binary_message_may_contain_any_bytes() {
    let bytes = [masked(0x02, b"\xFF"), masked(MIDDLE, b"\xC0"), masked(LAST, b"\x80")].concat();
    assert_eq!(feed(&mut server(), &bytes), (vec![Message::Binary(b"\xFF\xC0\x80".into())], None));
}
