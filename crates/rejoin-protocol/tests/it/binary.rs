//! Binary messages.

use proptest::prelude::*;
use rejoin_protocol::{
    StreamNumber,
    binary::{BinaryHeader, BinaryKind, InvalidBinary},
};
use serde_json::Value;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn kind(number: u64) -> BinaryKind {
    match number {
        1 => BinaryKind::Output,
        2 => BinaryKind::Input,
        3 => BinaryKind::Snapshot,
        4 => BinaryKind::InputAck,
        _ => BinaryKind::Parsed,
    }
}

#[test]
fn each_golden_binary_message_is_written_and_read() {
    // `client/test/golden.test.ts` reads and writes the same messages.
    let golden: Vec<Value> = serde_json::from_str(include_str!("../golden/binary.json")).unwrap();
    assert!(!golden.is_empty());

    for entry in golden {
        let header = BinaryHeader {
            kind: kind(entry["kind"].as_u64().unwrap()),
            stream: StreamNumber(u32::try_from(entry["stream"].as_u64().unwrap()).unwrap()),
            offset: entry["offset"].as_u64().unwrap(),
        };

        let bytes = unhex(entry["bytes_hex"].as_str().unwrap());
        let wire = unhex(entry["wire_hex"].as_str().unwrap());

        assert_eq!([header.to_bytes(), bytes.clone()].concat(), wire);
        assert_eq!(BinaryHeader::read(&wire), Ok((header, &bytes[..])));
    }
}

#[test]
fn an_invalid_header_is_refused() {
    assert_eq!(BinaryHeader::read(b""), Err(InvalidBinary::Kind));
    assert_eq!(BinaryHeader::read(b"\x06\x00\x00"), Err(InvalidBinary::Kind));
    assert_eq!(BinaryHeader::read(b"\x01"), Err(InvalidBinary::Varint));
    assert_eq!(BinaryHeader::read(b"\x01\x80\x80"), Err(InvalidBinary::Varint));

    // A stream number beyond 32 bits, then two offsets beyond 64 bits.
    assert_eq!(BinaryHeader::read(b"\x01\xff\xff\xff\xff\x1f\x00"), Err(InvalidBinary::Varint));
    let eleven = [&b"\x01\x00"[..], &[0xff; 10], b"\x01"].concat();

    assert_eq!(BinaryHeader::read(&eleven), Err(InvalidBinary::Varint));
    let too_large = [&b"\x01\x00"[..], &[0xff; 9], b"\x02"].concat();

    assert_eq!(BinaryHeader::read(&too_large), Err(InvalidBinary::Varint));
}

proptest! {
    #[test]
    fn a_written_header_is_read_back(number in 1u64..=5, stream: u32, offset: u64, bytes: Vec<u8>) {
        let header = BinaryHeader { kind: kind(number), stream: StreamNumber(stream), offset };
        let wire = [header.to_bytes(), bytes.clone()].concat();

        prop_assert_eq!(BinaryHeader::read(&wire), Ok((header, &bytes[..])));
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes: Vec<u8>) {
        let _ = BinaryHeader::read(&bytes);
    }
}
