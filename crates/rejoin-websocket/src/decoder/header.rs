//! A frame's header: parsed from as much of it as is there, refused at its first wrong byte.

use super::Side;
use crate::{Error, MessageKind};

/// The longest header: 2 bytes, a length of 8 and a mask key of 4 (RFC 6455 §5.2).
const MAX_HEADER_BYTES: usize = 14;
/// The longest payload of a control frame (RFC 6455 §5.5).
pub(crate) const MAX_CONTROL_BYTES: usize = 125;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// The reserved bit of permessage-deflate: the message is compressed (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;
pub(crate) const MASKED: u8 = 0x80;

/// The kind of a control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Close,
    Ping,
    Pong,
}

/// What the first frame of a data message says about all of it.
#[derive(Clone, Copy)]
pub(super) struct Message {
    pub(super) kind: MessageKind,
    pub(super) compressed: bool,
}

/// What a frame's payload is a part of.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// A data message; `last` ends it.
    Data { message: Message, last: bool },
    /// A control frame, always whole.
    Control(Control),
}

/// A frame whose payload is yet to come, or the rest of it.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) part: Part,
    /// The key for the next payload byte; zeros where frames are not masked.
    pub(super) key: [u8; 4],
    /// The payload bytes to come, within the limit.
    pub(super) missing: usize,
}

/// What the next frame has to conform to.
pub(super) struct Expected {
    pub(super) side: Side,
    /// Whether permessage-deflate is agreed on.
    pub(super) deflate: bool,
    /// The message that waits for its continuation.
    pub(super) continued: Option<Message>,
    /// The bytes that a data frame may declare.
    pub(super) room: usize,
}

/// The first bytes of a header whose rest has not arrived.
#[derive(Default)]
pub(super) struct Beginning {
    bytes: [u8; MAX_HEADER_BYTES],
    len: u8,
}

impl Beginning {
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// Takes from `input` what a header has room for.
    pub(super) fn fill(&mut self, input: &[u8]) {
        for (to, from) in self.bytes[usize::from(self.len)..].iter_mut().zip(input) {
            *to = *from;
            self.len += 1;
        }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }
}

/// Parses the header that `bytes` begin with; gives the frame and the header's length.
///
/// `Ok(None)`: the header is incomplete and right so far. What is wrong is found in the order of
/// the bytes, so that the error does not depend on how many of them are there.
pub(super) fn parse(bytes: &[u8], expected: &Expected) -> Result<Option<(Frame, usize)>, Error> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let part = part(first, expected)?;

    let Some(&second) = bytes.get(1) else { return Ok(None) };
    match expected.side {
        Side::Server if second & MASKED == 0 => return Err(Error::Unmasked),
        Side::Client if second & MASKED != 0 => return Err(Error::Masked),
        _ => {}
    }
    let short = second & !MASKED;
    if matches!(part, Part::Control(_)) && usize::from(short) > MAX_CONTROL_BYTES {
        return Err(Error::ControlTooLong);
    }

    let Some((length, mut end)) = length(short, &bytes[2..])? else { return Ok(None) };
    let missing = match (usize::try_from(length), part) {
        (Ok(length), Part::Control(_)) => length,
        (Ok(length), Part::Data { .. }) if length <= expected.room => length,
        _ => return Err(Error::MessageTooLong),
    };

    let mut key = [0; 4];
    if expected.side == Side::Server {
        let Some(&sent) = bytes[end..].first_chunk() else { return Ok(None) };
        (key, end) = (sent, end + key.len());
    }
    Ok(Some((Frame { part, key, missing }, end)))
}

fn part(first: u8, expected: &Expected) -> Result<Part, Error> {
    let opcode = first & 0x0F;
    let compressed = match first & RESERVED {
        0 => false,
        COMPRESSED if expected.deflate && matches!(opcode, 0x1 | 0x2) => true,
        _ => return Err(Error::ReservedBits),
    };
    let last = first & FINAL != 0;
    let begin = |kind| Part::Data { message: Message { kind, compressed }, last };
    let control = match (opcode, expected.continued) {
        (0x0, Some(message)) => return Ok(Part::Data { message, last }),
        (0x0, None) => return Err(Error::UnexpectedContinuation),
        (0x1 | 0x2, Some(_)) => return Err(Error::ExpectedContinuation),
        (0x1, None) => return Ok(begin(MessageKind::Text)),
        (0x2, None) => return Ok(begin(MessageKind::Binary)),
        (0x8, _) => Control::Close,
        (0x9, _) => Control::Ping,
        (0xA, _) => Control::Pong,
        (opcode, _) => return Err(Error::ReservedOpcode(opcode)),
    };
    if last { Ok(Part::Control(control)) } else { Err(Error::FragmentedControl) }
}

/// Reads a payload's length; gives it and the header's length without a mask key.
pub(crate) fn length(short: u8, extended: &[u8]) -> Result<Option<(u64, usize)>, Error> {
    let (length, least, end) = match short {
        126 => {
            let Some(&bytes) = extended.first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(bytes)), 126, 4)
        }
        127 => {
            let Some(&bytes) = extended.first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(bytes), 0x1_0000, 10)
        }
        _ => (u64::from(short), 0, 2),
    };
    if length < least {
        return Err(Error::NonMinimalLength);
    }
    if length > i64::MAX as u64 {
        return Err(Error::LengthOverflow);
    }
    Ok(Some((length, end)))
}
