//! Frame headers: parsed from any prefix, refused at the first wrong byte.

use super::Side;
use crate::{Error, MessageKind};

/// The longest header: 2 bytes, an 8-byte length and a 4-byte mask key (RFC 6455 §5.2).
const MAX_HEADER_BYTES: usize = 14;
/// The longest payload of a control frame (RFC 6455 §5.5).
pub(crate) const MAX_CONTROL_BYTES: usize = 125;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// The reserved bit of a compressed message (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;
pub(crate) const MASKED: u8 = 0x80;

/// The kind of a control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlKind {
    Close,
    Ping,
    Pong,
}

/// The properties of a data message, as its first frame declares them.
#[derive(Clone, Copy)]
pub(super) struct DataMessage {
    pub(super) kind: MessageKind,
    pub(super) compressed: bool,
}

/// The type of a frame.
#[derive(Clone, Copy)]
pub(super) enum FrameType {
    /// A fragment of a data message; the last one has `is_final`.
    Data { message: DataMessage, is_final: bool },
    /// A control frame, which is never fragmented.
    Control(ControlKind),
}

/// A frame whose header is parsed and whose payload is incomplete.
#[derive(Clone, Copy)]
pub(super) struct PendingFrame {
    pub(super) frame_type: FrameType,
    /// The mask key, rotated for the next payload byte; zeros if the frame is not masked.
    pub(super) key: [u8; 4],
    /// The number of payload bytes to come, within the limit.
    pub(super) missing: usize,
}

/// The rules for the next frame.
pub(super) struct HeaderRules {
    pub(super) side: Side,
    /// True if permessage-deflate was negotiated.
    pub(super) deflate: bool,
    /// The fragmented message that the frame must continue.
    pub(super) continued: Option<DataMessage>,
    /// The longest payload that a data frame may declare.
    pub(super) max_payload: usize,
}

/// The first bytes of an incomplete header.
#[derive(Default)]
pub(super) struct PartialHeader {
    bytes: [u8; MAX_HEADER_BYTES],
    len: u8,
}

impl PartialHeader {
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// Copies bytes from `input` up to the longest header.
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

/// Parses the header at the start of `bytes`; returns the frame and the header's length.
///
/// Returns `Ok(None)` if the header is incomplete and valid so far. The bytes are checked in order,
/// so the error does not depend on the number of bytes that have arrived.
pub(super) fn parse(
    bytes: &[u8],
    rules: &HeaderRules,
) -> Result<Option<(PendingFrame, usize)>, Error> {
    // Each byte is checked before the next one is required: see the doc comment.
    let Some(&first) = bytes.first() else { return Ok(None) };
    let frame_type = frame_type(first, rules)?;

    let Some(&second) = bytes.get(1) else { return Ok(None) };
    match rules.side {
        Side::Server if second & MASKED == 0 => return Err(Error::Unmasked),
        Side::Client if second & MASKED != 0 => return Err(Error::Masked),
        _ => {}
    }

    let short = second & !MASKED;
    if matches!(frame_type, FrameType::Control(_)) && usize::from(short) > MAX_CONTROL_BYTES {
        return Err(Error::ControlTooLong);
    }

    let Some((length, mut end)) = length(short, &bytes[2..])? else { return Ok(None) };
    // The limit is for data messages. A control frame was bounded above, and its bytes do not
    // count.
    let missing = match (usize::try_from(length), frame_type) {
        (Ok(length), FrameType::Control(_)) => length,
        (Ok(length), FrameType::Data { .. }) if length <= rules.max_payload => length,
        _ => return Err(Error::MessageTooLong),
    };

    // Server frames have no key. Zeros stand for that: masking with zeros changes nothing.
    let mut key = [0; 4];
    if rules.side == Side::Server {
        let Some(&sent) = bytes[end..].first_chunk() else { return Ok(None) };
        (key, end) = (sent, end + key.len());
    }

    Ok(Some((PendingFrame { frame_type, key, missing }, end)))
}

fn frame_type(first: u8, rules: &HeaderRules) -> Result<FrameType, Error> {
    let opcode = first & 0x0F;
    let compressed = match first & RESERVED {
        0 => false,
        // Only the first frame of a message has the bit (RFC 7692 §6.1).
        COMPRESSED if rules.deflate && matches!(opcode, 0x1 | 0x2) => true,
        _ => return Err(Error::ReservedBits),
    };

    let is_final = first & FINAL != 0;
    let begin = |kind| FrameType::Data { message: DataMessage { kind, compressed }, is_final };
    // Control frames may interrupt a fragmented message; data frames may not (RFC 6455 §5.4).
    let control = match (opcode, rules.continued) {
        (0x0, Some(message)) => return Ok(FrameType::Data { message, is_final }),
        (0x0, None) => return Err(Error::UnexpectedContinuation),
        (0x1 | 0x2, Some(_)) => return Err(Error::ExpectedContinuation),
        (0x1, None) => return Ok(begin(MessageKind::Text)),
        (0x2, None) => return Ok(begin(MessageKind::Binary)),
        (0x8, _) => ControlKind::Close,
        (0x9, _) => ControlKind::Ping,
        (0xA, _) => ControlKind::Pong,
        (opcode, _) => return Err(Error::ReservedOpcode(opcode)),
    };

    if is_final { Ok(FrameType::Control(control)) } else { Err(Error::FragmentedControl) }
}

/// Parses a payload's length; returns it and the header's length without the mask key.
///
/// `short` is the 7-bit length, `extended` are the bytes after it. Returns `Ok(None)` if they are
/// incomplete.
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

    // RFC 6455 §5.2 requires the shortest form. tungstenite accepts longer ones, this decoder does
    // not.
    if length < least {
        return Err(Error::NonMinimalLength);
    }

    // The most significant bit must be 0 (RFC 6455 §5.2).
    if length > i64::MAX as u64 {
        return Err(Error::LengthOverflow);
    }

    Ok(Some((length, end)))
}
