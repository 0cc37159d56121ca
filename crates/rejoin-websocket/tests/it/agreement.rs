//! Comparison with tungstenite, and the deliberate differences.

use std::io::{self, Read, Write};

use rejoin_websocket::{Decoder, Error, Side};
use tungstenite::{
    WebSocket,
    error::ProtocolError,
    protocol::{self, WebSocketConfig},
};

use crate::wire::{Message, feed};

/// A socket that returns these bytes, then its end, and discards everything written.
struct Socket<'a>(&'a [u8]);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the messages that tungstenite reads up to a close, an error or the end of `bytes`.
pub(crate) fn oracle(
    side: Side,
    bytes: &[u8],
    max_message_bytes: usize,
) -> (Vec<Message>, Option<tungstenite::Error>) {
    let side = match side {
        Side::Server => protocol::Role::Server,
        Side::Client => protocol::Role::Client,
    };

    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes));
    let mut socket = WebSocket::from_raw_socket(Socket(bytes), side, Some(config));
    let mut messages = Vec::new();

    loop {
        messages.push(match socket.read() {
            Ok(tungstenite::Message::Text(text)) => Message::Text(text.as_str().to_owned()),
            Ok(tungstenite::Message::Binary(payload)) => Message::Binary(payload.to_vec()),
            Ok(tungstenite::Message::Ping(payload)) => Message::Ping(payload.to_vec()),
            Ok(tungstenite::Message::Pong(payload)) => Message::Pong(payload.to_vec()),
            Ok(tungstenite::Message::Close(close)) => {
                let close = close.map(|close| (close.code.into(), close.reason.to_string()));
                messages.push(Message::Close(close));
                return (messages, None);
            }
            Ok(tungstenite::Message::Frame(_)) => unreachable!("raw frames are not enabled"),
            Err(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return (messages, None);
            }
            Err(error) => return (messages, Some(error)),
        });
    }
}

/// Asserts that the decoder and tungstenite agree on the messages and on validity.
///
/// `max_message_bytes` must be at least 125, because tungstenite's limit includes control frames.
/// Known differences:
/// - tungstenite checks a frame when it is complete, the decoder at its first wrong byte. So input
///   that the decoder refused is completed with arbitrary bytes before tungstenite reads it.
/// - tungstenite accepts lengths that are not minimal, also in control frames. RFC 6455 §5.2: "the
///   minimal number of bytes MUST be used".
/// - tungstenite reports an invalid close code as a close with code 1002. It treats 1014, which IANA
///   has registered, as invalid.
#[track_caller]
pub(crate) fn assert_agreement(side: Side, bytes: &[u8], max_message_bytes: usize) {
    let (ours, refused) = feed(&mut Decoder::new(side, max_message_bytes), bytes);
    let Some(refused) = refused else {
        let expected = ours.into_iter().map(|message| match message {
            Message::Close(Some((1014, _))) => protocol_violation(),
            message => message,
        });
        let (theirs, error) = oracle(side, bytes, max_message_bytes);
        assert_eq!(expected.collect::<Vec<_>>(), theirs);
        assert!(error.is_none(), "tungstenite refuses the accepted input: {error:?}");
        return;
    };

    // tungstenite needs the whole frame to notice a violation in its header.
    let completed = [bytes, &vec![1; max_message_bytes + 32]].concat();
    let (theirs, error) = oracle(side, &completed, max_message_bytes);
    match (refused, error) {
        (Error::NonMinimalLength | Error::ControlTooLong, _) => {
            assert!(theirs.starts_with(&ours), "{ours:?} {theirs:?}");
        }
        (Error::InvalidCloseCode(_), None) => {
            let expected: Vec<_> = ours.into_iter().chain([protocol_violation()]).collect();
            assert_eq!(expected, theirs);
        }
        (_, error) => {
            assert_eq!(ours, theirs, "{refused:?}, {error:?}");
            let alike = match refused.close_code() {
                1007 => matches!(error, Some(tungstenite::Error::Utf8(_))),
                1009 => matches!(error, Some(tungstenite::Error::Capacity(_))),
                _ => error.is_some(),
            };

            assert!(alike, "{refused:?}, {error:?}");
        }
    }
}

fn protocol_violation() -> Message {
    Message::Close(Some((1002, "Protocol violation".into())))
}
