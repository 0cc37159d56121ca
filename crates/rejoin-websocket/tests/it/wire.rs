//! Frames as a peer sends them, and events that outlive their decoder.

use rejoin_websocket::{CloseFrame, Decoder, Error, Event};

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8A;
pub(crate) const FIRST_TEXT: u8 = 0x01;
pub(crate) const FIRST_BINARY: u8 = 0x02;
pub(crate) const MIDDLE: u8 = 0x00;
pub(crate) const LAST: u8 = 0x80;

pub(crate) const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// An [`Event`] that owns its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Event<'_>> for Message {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.to_owned()),
            Event::Binary(payload) => Self::Binary(payload.to_vec()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(close) => {
                Self::Close(close.map(|CloseFrame { code, reason }| (code, reason.to_owned())))
            }
        }
    }
}

/// Builds a frame with the given first byte, masked if there is a key.
pub(crate) fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = vec![first];
    let masked = if key.is_some() { 0x80 } else { 0 };
    if let Ok(length @ ..126) = u8::try_from(payload.len()) {
        frame.push(masked | length);
    } else if let Ok(length) = u16::try_from(payload.len()) {
        frame.push(masked | 126);
        frame.extend(length.to_be_bytes());
    } else {
        frame.push(masked | 127);
        frame.extend((payload.len() as u64).to_be_bytes());
    }

    frame.extend(key.into_iter().flatten());
    let key = key.unwrap_or_default();
    frame.extend(payload.iter().zip(key.into_iter().cycle()).map(|(byte, key)| byte ^ key));

    frame
}

/// Builds a client's frame.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, Some(KEY))
}

/// Feeds `input` to the decoder and returns its events and its error.
pub(crate) fn feed(decoder: &mut Decoder, input: &[u8]) -> (Vec<Message>, Option<Error>) {
    let mut input = input.to_vec();
    let mut feed = decoder.feed(&mut input);
    let mut messages = Vec::new();

    loop {
        match feed.next() {
            Ok(Some(event)) => messages.push(event.into()),
            Ok(None) => return (messages, None),
            Err(error) => return (messages, Some(error)),
        }
    }
}

/// Feeds `input` in pieces, cut at each of the ascending `cuts`.
pub(crate) fn feed_cut(
    decoder: &mut Decoder,
    input: &[u8],
    cuts: &[usize],
) -> (Vec<Message>, Option<Error>) {
    let mut messages = Vec::new();
    let mut from = 0;

    for to in cuts.iter().copied().chain([input.len()]) {
        let (more, error) = feed(decoder, &input[from..to]);
        messages.extend(more);
        if error.is_some() {
            return (messages, error);
        }

        from = to;
    }

    (messages, None)
}
