//! Protocol violations: each is reported at its first wrong byte, with its close code.

use rejoin_websocket::{Decoder, Error, Side};

use crate::wire::{
    BINARY, CLOSE, FIRST_BINARY, FIRST_TEXT, LAST, MIDDLE, PING, PONG, TEXT, feed, frame, masked,
};

const LIMIT: usize = 1000;

/// Asserts that `bytes` fail at their last byte: in one piece, byte by byte, and followed by more.
#[track_caller]
fn refused(side: Side, bytes: &[u8], error: Error, close_code: u16) {
    let whole = feed(&mut Decoder::new(side, LIMIT), bytes).1;
    assert_eq!(whole, Some(error), "in one piece");

    let mut decoder = Decoder::new(side, LIMIT);
    let (before, last) = bytes.split_at(bytes.len() - 1);

    for (at, byte) in before.iter().enumerate() {
        assert_eq!(feed(&mut decoder, &[*byte]).1, None, "byte {at}");
    }

    assert_eq!(feed(&mut decoder, last).1, Some(error), "at the last byte");
    assert_eq!(feed(&mut decoder, &masked(TEXT, b"more")), (Vec::new(), Some(error)), "again");
    assert!(decoder.is_idle(), "the buffer is empty");

    let more = [bytes, &[0; 20]].concat();
    assert_eq!(feed(&mut Decoder::new(side, LIMIT), &more).1, Some(error), "followed by more");
    assert_eq!(error.close_code(), close_code);
}

#[track_caller]
fn server_refuses(bytes: &[u8], error: Error, close_code: u16) {
    refused(Side::Server, bytes, error, close_code);
}

#[test]
fn a_reserved_bit_is_refused() {
    for bit in [0x40, 0x20, 0x10] {
        for first in [TEXT, BINARY, CLOSE, PING, PONG] {
            server_refuses(&[first | bit], Error::ReservedBits, 1002);
        }

        let continued = [masked(FIRST_TEXT, b"a"), vec![LAST | bit]].concat();
        server_refuses(&continued, Error::ReservedBits, 1002);
    }
}

#[test]
fn a_reserved_opcode_is_refused() {
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        server_refuses(&[0x80 | opcode], Error::ReservedOpcode(opcode), 1002);
        server_refuses(&[opcode], Error::ReservedOpcode(opcode), 1002);
    }
}

#[test]
fn a_continuation_of_nothing_is_refused() {
    for first in [MIDDLE, LAST] {
        server_refuses(&[first], Error::UnexpectedContinuation, 1002);
        let after = [masked(FIRST_TEXT, b""), masked(LAST, b""), vec![first]].concat();
        server_refuses(&after, Error::UnexpectedContinuation, 1002);
    }
}

#[test]
fn a_message_inside_a_message_is_refused() {
    for first in [TEXT, BINARY, FIRST_TEXT, FIRST_BINARY] {
        let bytes = [masked(FIRST_BINARY, b""), masked(PING, b""), vec![first]].concat();
        server_refuses(&bytes, Error::ExpectedContinuation, 1002);
    }
}

#[test]
fn a_fragmented_control_frame_is_refused() {
    for first in [CLOSE, PING, PONG] {
        server_refuses(&[first & 0x7F], Error::FragmentedControl, 1002);
    }
}

#[test]
fn a_control_frame_over_125_bytes_is_refused() {
    for first in [CLOSE, PING, PONG] {
        server_refuses(&[first, 0x80 | 126], Error::ControlTooLong, 1002);
        server_refuses(&[first, 0x80 | 127], Error::ControlTooLong, 1002);
    }

    // The limit of messages, here 0, does not apply to control frames.
    let longest = masked(PING, &[0; 125]);
    assert_eq!(feed(&mut Decoder::new(Side::Server, 0), &longest).1, None);
}

#[test]
fn a_server_refuses_unmasked_frames() {
    for first in [TEXT, BINARY, CLOSE, PING, PONG, FIRST_TEXT] {
        server_refuses(&frame(first, b"", None), Error::Unmasked, 1002);
    }
}

#[test]
fn a_client_refuses_masked_frames() {
    for first in [TEXT, BINARY, CLOSE, PING, PONG, FIRST_TEXT] {
        refused(Side::Client, &[first, 0x80], Error::Masked, 1002);
    }
}

#[test]
fn a_length_that_is_not_minimal_is_refused() {
    server_refuses(&[BINARY, 0xFE, 0, 125], Error::NonMinimalLength, 1002);
    server_refuses(&[BINARY, 0xFE, 0, 0], Error::NonMinimalLength, 1002);
    server_refuses(&[BINARY, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], Error::NonMinimalLength, 1002);
}

#[test]
fn a_length_of_64_bits_is_refused() {
    server_refuses(&[BINARY, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], Error::LengthOverflow, 1002);
    let most = [&[BINARY, 0xFF][..], &[0xFF; 8]].concat();
    server_refuses(&most, Error::LengthOverflow, 1002);
}

#[test]
fn a_message_over_the_limit_is_refused_at_its_header() {
    server_refuses(&[BINARY, 0xFE, 3, 233], Error::MessageTooLong, 1009);
    server_refuses(&[FIRST_TEXT, 0xFE, 3, 233], Error::MessageTooLong, 1009);
    let overall = [masked(FIRST_TEXT, &[b'a'; 900]), vec![LAST, 0x80 | 101]].concat();
    server_refuses(&overall, Error::MessageTooLong, 1009);
}

#[test]
fn a_close_frame_of_one_byte_is_refused() {
    server_refuses(&masked(CLOSE, b"\x03"), Error::InvalidClosePayload, 1002);
}

#[test]
fn only_the_close_codes_of_the_rfc_are_accepted() {
    for code in 0..=u16::MAX {
        let bytes = masked(CLOSE, &code.to_be_bytes());
        let (messages, error) = feed(&mut Decoder::new(Side::Server, LIMIT), &bytes);
        if matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            assert_eq!((messages.len(), error), (1, None), "{code}");
        } else {
            let refused = Error::InvalidCloseCode(code);
            assert_eq!((messages.len(), error), (0, Some(refused)), "{code}");
        }
    }

    server_refuses(&masked(CLOSE, b"\x03\xEDno status"), Error::InvalidCloseCode(1005), 1002);
}

#[test]
fn a_close_reason_that_is_not_utf8_is_refused() {
    server_refuses(&masked(CLOSE, b"\x03\xE8\xC3"), Error::InvalidCloseReason, 1007);
    server_refuses(&masked(CLOSE, b"\x03\xE8a\xFFb"), Error::InvalidCloseReason, 1007);
}

#[test]
fn the_first_violation_is_reported() {
    // Invalid text, followed by an invalid header.
    let bytes = [masked(FIRST_TEXT, b"\xFF")[..7].to_vec(), vec![0xFF]].concat();
    let error = feed(&mut Decoder::new(Side::Server, LIMIT), &bytes).1;
    assert_eq!(error, Some(Error::InvalidText));
}
