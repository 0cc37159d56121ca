//! The messages between keeper and server.

use proptest::prelude::*;
use rejoin_keeper::wire::{
    Decoder, Exit, Hello, Input, MAX_MESSAGE_BYTES, Message, Report, Request, Size, WireError,
    header,
};

fn decode<M: Message>(bytes: &[u8]) -> Result<Vec<M>, WireError> {
    let mut decoder = Decoder::default();
    decoder.receive(bytes);
    let mut messages = Vec::new();
    while let Some(message) = decoder.decode()? {
        messages.push(message);
    }
    Ok(messages)
}

fn decode_pieces<'a, M: Message>(
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<M>, WireError> {
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    for piece in pieces {
        decoder.receive(piece);
        while let Some(message) = decoder.decode()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

fn encode(messages: &[impl Message]) -> Vec<u8> {
    let mut bytes = header().to_vec();
    for message in messages {
        message.encode(&mut bytes);
    }
    bytes
}

fn size() -> impl Strategy<Value = Size> {
    (any::<u16>(), any::<u16>()).prop_map(|(cols, rows)| Size { cols, rows })
}

fn key() -> impl Strategy<Value = (Box<[u8]>, u64)> {
    (prop::collection::vec(any::<u8>(), 1..=255).prop_map(Into::into), any::<u64>())
}

fn request() -> impl Strategy<Value = Request> {
    let bytes = prop::collection::vec(any::<u8>(), 0..100);
    prop_oneof![
        any::<u64>().prop_map(|offset| Request::Follow { offset }),
        any::<u64>().prop_map(|offset| Request::Acknowledge { offset }),
        (any::<u64>(), prop::option::of(key()), bytes)
            .prop_map(|(number, key, bytes)| Request::Input(Input { number, key, bytes })),
        any::<u64>().prop_map(|number| Request::Cancel { number }),
        size().prop_map(Request::Resize),
        any::<i32>().prop_map(|signal| Request::Signal { signal }),
        Just(Request::HangUp),
    ]
}

fn exit() -> impl Strategy<Value = Exit> {
    (any::<Option<i32>>(), any::<Option<i32>>(), any::<bool>())
        .prop_map(|(code, signal, is_out_of_memory)| Exit { code, signal, is_out_of_memory })
}

fn report() -> impl Strategy<Value = Report> {
    let bytes = prop::collection::vec(any::<u8>(), 0..100);
    let hello = (any::<u32>(), any::<u64>(), any::<u64>(), size());
    let writers = prop::collection::vec(key(), 0..5);
    prop_oneof![
        (hello, writers).prop_map(|((pid, oldest, next, size), writers)| {
            Report::Hello(Hello { pid, oldest, next, size, writers })
        }),
        (any::<u64>(), bytes).prop_map(|(offset, bytes)| Report::Output { offset, bytes }),
        (any::<u64>(), size()).prop_map(|(offset, size)| Report::Resized { offset, size }),
        (any::<u64>(), exit()).prop_map(|(offset, exit)| Report::Exited { offset, exit }),
        any::<u64>().prop_map(|number| Report::Written { number }),
        any::<u64>().prop_map(|number| Report::Refused { number }),
        any::<u64>().prop_map(|offset| Report::Gap { offset }),
    ]
}

proptest! {
    #[test]
    fn messages_survive_any_fragmentation(
        requests in prop::collection::vec(request(), 0..10),
        piece in 1_usize..50,
    ) {
        let mut decoder = Decoder::default();
        let mut decoded = Vec::new();
        for piece in encode(&requests).chunks(piece) {
            decoder.receive(piece);
            while let Some(request) = decoder.decode::<Request>().unwrap() {
                decoded.push(request);
            }
        }

        prop_assert_eq!(decoded, requests);
    }

    #[test]
    fn reports_are_decoded_as_encoded(reports in prop::collection::vec(report(), 0..10)) {
        prop_assert_eq!(decode::<Report>(&encode(&reports)).unwrap(), reports);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_decoded(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode::<Request>(&[&header()[..], &bytes].concat());
        let _ = decode::<Report>(&bytes);
    }

    #[test]
    fn damaged_messages_do_not_depend_on_fragmentation(
        reports in prop::collection::vec(report(), 1..6),
        requests in prop::collection::vec(request(), 1..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        piece in 1_usize..50,
    ) {
        for mut bytes in [encode(&reports), encode(&requests)] {
            for (at, value) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            let whole = (decode::<Report>(&bytes), decode::<Request>(&bytes));

            let pieces = || bytes.chunks(piece);
            prop_assert_eq!(decode_pieces::<Report>(pieces()).ok(), whole.0.ok());
            prop_assert_eq!(decode_pieces::<Request>(pieces()).ok(), whole.1.ok());
        }
    }

    #[test]
    fn later_fields_are_ignored(report in report(), later in prop::collection::vec(any::<u8>(), 0..9)) {
        let mut bytes = encode(std::slice::from_ref(&report));
        bytes.extend(&later);
        let length = u32::try_from(bytes.len() - 14).unwrap();
        bytes[10..14].copy_from_slice(&length.to_le_bytes());

        prop_assert_eq!(decode::<Report>(&bytes).unwrap(), [report]);
    }
}

#[test]
fn unknown_kinds_are_skipped() {
    let mut bytes = encode(&[Request::HangUp]);
    bytes.extend([3, 0, 0, 0, 200, 1, 2]);
    Request::HangUp.encode(&mut bytes);

    assert_eq!(decode::<Request>(&bytes).unwrap(), [Request::HangUp, Request::HangUp]);
}

#[test]
fn foreign_bytes_and_excessive_lengths_are_refused() {
    assert_eq!(decode::<Request>(b"GET / HTTP/1.1"), Err(WireError::Magic));

    let length = u32::try_from(MAX_MESSAGE_BYTES).unwrap() + 1;
    let bytes = [&header()[..], &length.to_le_bytes()].concat();
    assert_eq!(decode::<Request>(&bytes), Err(WireError::Length(length)));
}
