//! Events of a decoder: messages and control frames, borrowed from the input or the decoder.

use crate::Error;

/// The kind of a data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Arbitrary bytes.
    Binary,
}

impl MessageKind {
    /// Returns the opcode of a frame that begins such a message (RFC 6455 §5.2).
    pub(crate) fn opcode(self) -> u8 {
        match self {
            Self::Text => 0x1,
            Self::Binary => 0x2,
        }
    }
}

/// A complete message or control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping of at most 125 bytes; the caller must answer with a pong of the same payload.
    Ping(&'a [u8]),
    /// A pong of at most 125 bytes.
    Pong(&'a [u8]),
    /// A close, the last event; `None` if the frame was empty.
    Close(Option<CloseFrame<'a>>),
}

/// The payload of a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// The code: 1000–1003, 1007–1014 or 3000–4999 (RFC 6455 §7.4).
    pub code: u16,
    /// The reason, 0 to 123 bytes.
    pub reason: &'a str,
}

impl<'a> Event<'a> {
    /// Returns the event of a data message, and checks that text is UTF-8.
    pub(crate) fn message(kind: MessageKind, payload: &'a [u8]) -> Result<Self, Error> {
        match kind {
            MessageKind::Binary => Ok(Self::Binary(payload)),
            MessageKind::Text => match simdutf8::basic::from_utf8(payload) {
                Ok(text) => Ok(Self::Text(text)),
                Err(_) => Err(Error::InvalidText),
            },
        }
    }
}

impl<'a> CloseFrame<'a> {
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Option<Self>, Error> {
        if payload.is_empty() {
            return Ok(None);
        }

        let Some((code, reason)) = payload.split_first_chunk() else {
            return Err(Error::InvalidClosePayload);
        };

        // 1004 to 1006 and 1015 are reserved for local use and must not appear in a frame.
        let code = u16::from_be_bytes(*code);
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            return Err(Error::InvalidCloseCode(code));
        }

        let reason = str::from_utf8(reason).map_err(|_| Error::InvalidCloseReason)?;
        Ok(Some(Self { code, reason }))
    }
}
