//! What a decoder hands out: messages and control frames, lent from where their bytes lie.

use crate::{Error, MessageKind, decoder::Control};

/// A whole message or control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping of at most 125 bytes, to be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// A pong of at most 125 bytes.
    Pong(&'a [u8]),
    /// The peer closes, with a code unless its frame was empty. Nothing follows it.
    Close(Option<CloseFrame<'a>>),
}

/// Why a peer closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// The code: 1000–1003, 1007–1014 or 3000–4999 (RFC 6455 §7.4).
    pub code: u16,
    /// The reason, at most 123 bytes, possibly empty.
    pub reason: &'a str,
}

impl<'a> Event<'a> {
    pub(crate) fn message(kind: MessageKind, payload: &'a [u8]) -> Result<Self, Error> {
        match kind {
            MessageKind::Binary => Ok(Self::Binary(payload)),
            MessageKind::Text => match simdutf8::basic::from_utf8(payload) {
                Ok(text) => Ok(Self::Text(text)),
                Err(_) => Err(Error::InvalidText),
            },
        }
    }

    pub(crate) fn control(control: Control, payload: &'a [u8]) -> Result<Self, Error> {
        match control {
            Control::Ping => Ok(Self::Ping(payload)),
            Control::Pong => Ok(Self::Pong(payload)),
            Control::Close => Close::parse(payload).map(Self::Close),
        }
    }
}

impl<'a> CloseFrame<'a> {
    fn parse(payload: &'a [u8]) -> Result<Option<Self>, Error> {
        if payload.is_empty() {
            return Ok(None);
        }
        let Some((code, reason)) = payload.split_first_chunk() else {
            return Err(Error::InvalidClosePayload);
        };
        let code = u16::from_be_bytes(*code);
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            return Err(Error::InvalidCloseCode(code));
        }
        let reason = str::from_utf8(reason).map_err(|_| Error::InvalidCloseReason)?;
        Ok(Some(Self { code, reason }))
    }
}
