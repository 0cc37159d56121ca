//! Encoded frames, decoded by tungstenite as a client.

use proptest::{collection::vec, prelude::*};
use rejoin_websocket::{MessageKind, Side, close, encode, header_len, ping, pong};

use crate::{
    agreement::oracle,
    heap::{Usage, usage},
    wire::Message,
};

#[track_caller]
fn client_reads(bytes: &[u8], message: &Message) {
    let (messages, error) = oracle(Side::Client, bytes, 1 << 20);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(messages, std::slice::from_ref(message));
}

#[test]
fn a_header_is_as_short_as_its_length_allows() {
    let lengths = [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (1 << 20, 10)];
    for (payload, header) in lengths {
        assert_eq!(header_len(payload), header);
        let bytes = encode(MessageKind::Binary, &[&vec![1; payload]]);

        assert_eq!(bytes.len(), header + payload);
        client_reads(&bytes, &Message::Binary(vec![1; payload]));
    }
}

#[test]
fn a_frame_is_one_allocation_of_exact_size() {
    let parts: [&[u8]; 3] = [b"head", &[1; 1000], b"tail"];
    let mut frame = None;
    let used = usage(|| frame = Some(encode(MessageKind::Binary, &parts)));
    // 8 + 1000 bytes and a header of 4.
    assert_eq!(used, Usage { peak: 1012, kept: 1012 });
}

#[test]
fn control_payloads_are_cut_at_125_bytes() {
    client_reads(&ping(&[1; 125]), &Message::Ping(vec![1; 125]));
    client_reads(&ping(&[1; 126]), &Message::Ping(vec![1; 125]));
    client_reads(&pong(&[1; 200]), &Message::Pong(vec![1; 125]));
    client_reads(&pong(b""), &Message::Pong(Vec::new()));
}

#[test]
fn a_close_reason_is_cut_at_a_character_boundary() {
    let reasons = [
        ("", ""),
        ("bye", "bye"),
        (&"x".repeat(123), &"x".repeat(123)),
        (&"x".repeat(124), &"x".repeat(123)),
        (&"é".repeat(70), &"é".repeat(61)),
        (&"😀".repeat(70), &"😀".repeat(30)),
    ];
    for (reason, read) in reasons {
        client_reads(&close(4000, reason), &Message::Close(Some((4000, read.into()))));
    }
}

proptest! {
    #[test]
    fn a_client_decodes_an_encoded_frame(parts in vec(vec(any::<u8>(), 0..300), 0..5)) {
        let slices: Vec<_> = parts.iter().map(Vec::as_slice).collect();
        client_reads(&encode(MessageKind::Binary, &slices), &Message::Binary(parts.concat()));
    }

    #[test]
    fn text_parts_may_be_cut_inside_characters(
        text in vec(any::<char>(), 0..50),
        cut in any::<prop::sample::Index>(),
    ) {
        let text: String = text.into_iter().collect();
        let (begin, end) = text.as_bytes().split_at(cut.index(text.len() + 1));
        client_reads(&encode(MessageKind::Text, &[begin, end]), &Message::Text(text));
    }
}
