//! Complete messages from bytes in any portions.

use rejoin_websocket::{Decoder, Event, Side};

use crate::wire::{
    BINARY, CLOSE, FIRST_BINARY, FIRST_TEXT, KEY, LAST, MIDDLE, Message, PING, PONG, TEXT, feed,
    feed_cut, frame, masked,
};

fn server() -> Decoder {
    Decoder::new(Side::Server, 1 << 20)
}

/// Returns frames of each kind and length encoding, and their messages.
fn conversation() -> (Vec<u8>, Vec<Message>) {
    let long = vec![7; 300];
    let longer = vec![9; 70_000];
    let bytes = [
        masked(TEXT, "héllo".as_bytes()),
        masked(BINARY, &long),
        masked(FIRST_TEXT, b"\xF0\x9F"),
        masked(PING, b"between"),
        masked(MIDDLE, b""),
        masked(PONG, b""),
        masked(LAST, b"\x98\x80"),
        masked(FIRST_BINARY, b""),
        masked(LAST, b"late"),
        masked(BINARY, &longer),
        masked(TEXT, b""),
        masked(CLOSE, b"\x03\xE8bye"),
    ]
    .concat();
    let messages = vec![
        Message::Text("héllo".into()),
        Message::Binary(long),
        Message::Ping(b"between".into()),
        Message::Pong(Vec::new()),
        Message::Text("😀".into()),
        Message::Binary(b"late".into()),
        Message::Binary(longer),
        Message::Text(String::new()),
        Message::Close(Some((1000, "bye".into()))),
    ];

    (bytes, messages)
}

#[test]
fn a_conversation_is_decoded_in_one_piece() {
    let (bytes, messages) = conversation();
    assert_eq!(feed(&mut server(), &bytes), (messages, None));
}

#[test]
fn a_conversation_is_decoded_byte_by_byte() {
    let (bytes, messages) = conversation();
    let cuts: Vec<_> = (0..bytes.len()).collect();
    assert_eq!(feed_cut(&mut server(), &bytes, &cuts), (messages, None));
}

#[test]
fn a_conversation_is_decoded_at_any_cut() {
    let (bytes, messages) = conversation();
    // The middle of the long binary message is left out for speed.
    for cut in (0..400).chain(bytes.len() - 100..bytes.len()) {
        assert_eq!(feed_cut(&mut server(), &bytes, &[cut]), (messages.clone(), None), "at {cut}");
    }
}

#[test]
fn a_client_reads_unmasked_frames() {
    let bytes = [frame(TEXT, b"one", None), frame(PING, b"two", None)].concat();
    let (messages, error) = feed(&mut Decoder::new(Side::Client, 100), &bytes);
    assert_eq!(messages, [Message::Text("one".into()), Message::Ping(b"two".into())]);
    assert_eq!(error, None);
}

#[test]
fn a_complete_message_borrows_from_the_input() {
    let mut input = [masked(TEXT, b"text"), masked(PING, b"ping")].concat();
    let range = input.as_ptr_range();
    let mut decoder = server();
    let mut feed = decoder.feed(&mut input);
    let Ok(Some(Event::Text(text))) = feed.next() else { panic!("no text") };

    assert!(range.contains(&text.as_ptr()));
    let Ok(Some(Event::Ping(ping))) = feed.next() else { panic!("no ping") };

    assert!(range.contains(&ping.as_ptr()));
}

#[test]
fn a_payload_after_a_split_header_borrows_from_the_input() {
    let mut input = masked(BINARY, b"payload");
    // Two bytes and the mask key.
    let (header, payload) = input.split_at_mut(6);
    let range = payload.as_ptr_range();
    let mut decoder = server();

    assert_eq!(decoder.feed(header).next(), Ok(None));
    let mut feed = decoder.feed(payload);
    let Ok(Some(Event::Binary(payload))) = feed.next() else { panic!("no message") };

    assert!(range.contains(&payload.as_ptr()));
}

#[test]
fn nothing_is_decoded_after_a_close() {
    let mut decoder = server();
    let bytes = [masked(CLOSE, b""), masked(TEXT, b"late"), vec![0xFF; 9]].concat();
    assert_eq!(feed(&mut decoder, &bytes), (vec![Message::Close(None)], None));
    assert_eq!(feed(&mut decoder, &masked(TEXT, b"later")), (Vec::new(), None));
    assert!(decoder.is_idle());
}

#[test]
fn a_close_may_interrupt_a_message() {
    let mut decoder = server();
    let bytes = [masked(FIRST_TEXT, b"unfinished"), masked(CLOSE, b"\x0F\xA0")].concat();
    let close = Message::Close(Some((4000, String::new())));
    assert_eq!(feed(&mut decoder, &bytes), (vec![close], None));
    assert!(decoder.is_idle());
}

#[test]
fn a_decoder_is_idle_exactly_between_messages() {
    let bytes = [masked(FIRST_TEXT, b"a"), masked(PING, b"b"), masked(LAST, b"c")].concat();
    let mut decoder = server();

    assert!(decoder.is_idle());
    for (at, byte) in bytes.iter().enumerate() {
        feed(&mut decoder, &[*byte]);
        assert_eq!(decoder.is_idle(), at + 1 == bytes.len(), "after {} bytes", at + 1);
    }
}

#[test]
fn an_empty_input_changes_nothing() {
    let bytes = masked(TEXT, b"text");
    let cuts: Vec<_> = (0..bytes.len()).flat_map(|at| [at, at, at]).collect();
    assert_eq!(feed_cut(&mut server(), &bytes, &cuts).0, [Message::Text("text".into())]);
}

#[test]
fn each_key_unmasks_any_length_at_any_cut() {
    let payload: Vec<_> = (0..40).collect();
    for key in [KEY, [0; 4], [0xFF; 4], [1, 2, 3, 4]] {
        for len in 0..payload.len() {
            let bytes = frame(BINARY, &payload[..len], Some(key));
            for cut in 0..=bytes.len() {
                let (messages, error) = feed_cut(&mut server(), &bytes, &[cut]);
                assert_eq!(messages, [Message::Binary(payload[..len].to_vec())]);
                assert_eq!(error, None);
            }
        }
    }
}

#[test]
fn debug_output_shows_no_payload() {
    let mut decoder = server();
    feed(&mut decoder, &masked(TEXT, b"secret")[..10]);
    let mut input = b"secret".to_vec();
    let shown = format!("{:?}", decoder.feed(&mut input));
    // 115 is the first byte of the secret, as a list of bytes would show it.
    assert!(shown.contains("idle: false") && !shown.contains("115"), "{shown}");
}
