//! Tungstenite as the oracle: what it makes of the same bytes, and where it differs for a reason.

use std::io::{self, Read, Write};

use rejoin_websocket::{Decoder, Error, Side};
use tungstenite::{
    WebSocket,
    error::ProtocolError,
    protocol::{self, WebSocketConfig},
};

use crate::wire::{Message, feed};

/// A socket that gives these bytes, then its end, and takes whatever is written.
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

/// What the oracle reads up to a close, an error or the end of `bytes`.
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
            Ok(tungstenite::Message::Frame(_)) => unreachable!("it reads no raw frames"),
            Err(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return (messages, None);
            }
            Err(error) => return (messages, Some(error)),
        });
    }
}

/// Asserts that the decoder and the oracle read the same messages and accept and refuse the same.
///
/// `max_message_bytes` is at least 125: the oracle's limit binds control frames, too. It differs:
/// - It judges a frame when it is complete, the decoder at its first wrong byte. So what the
///   decoder refused is completed by bytes of no meaning, and then has to be refused.
/// - It accepts lengths in more bytes than they need (RFC 6455 §5.2: "the minimal number of bytes
///   MUST be used"), for control frames as well.
/// - It reports a close code that may not be sent as a close with code 1002. And it counts 1014
///   (registered with IANA since) among those.
#[track_caller]
pub(crate) fn assert_agreement(side: Side, bytes: &[u8], max_message_bytes: usize) {
    let (ours, refused) = feed(&mut Decoder::new(side, max_message_bytes), bytes);
    let Some(refused) = refused else {
        let expected = ours.into_iter().map(|message| match message {
            Message::Close(Some((1014, _))) => violation(),
            message => message,
        });
        let (theirs, error) = oracle(side, bytes, max_message_bytes);
        assert_eq!(expected.collect::<Vec<_>>(), theirs);
        assert!(error.is_none(), "accepted what the oracle refuses: {error:?}");
        return;
    };

    let completed = [bytes, &vec![1; max_message_bytes + 32]].concat();
    let (theirs, error) = oracle(side, &completed, max_message_bytes);
    match (refused, error) {
        (Error::NonMinimalLength | Error::ControlTooLong, _) => {
            assert!(theirs.starts_with(&ours), "{ours:?} {theirs:?}");
        }
        (Error::InvalidCloseCode(_), None) => {
            let expected: Vec<_> = ours.into_iter().chain([violation()]).collect();
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

fn violation() -> Message {
    Message::Close(Some((1002, "Protocol violation".into())))
}
