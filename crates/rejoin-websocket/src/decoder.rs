//! The incremental decoder: any portions of bytes in, complete messages out.

mod header;
mod inflate;
mod partial;

use std::{fmt, ops::Range};

pub(crate) use self::header::{MASKED, MAX_CONTROL_BYTES, length};
use self::{
    header::{ControlKind, DataMessage, FrameType, HeaderRules, PartialHeader, PendingFrame},
    partial::PartialPayload,
};
use crate::{CloseFrame, Error, Event, MessageKind, mask};

/// The side of the connection on which the decoder runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A server: it decodes a client's frames, which must be masked (RFC 6455 §5.1).
    Server,
    /// A client: it decodes a server's frames, which must not be masked (RFC 6455 §5.1).
    Client,
}

/// The decoder of one connection.
///
/// It owns no heap memory between messages. Within a message it owns at most twice the bytes that
/// arrived, whatever length the header declares. A complete compressed message is inflated to at
/// most `max_message_bytes`, with a temporary state of about 48 kB.
///
/// ```
/// use rejoin_websocket::{Decoder, Event, Side};
///
/// let mut decoder = Decoder::new(Side::Client, 64 * 1024);
///
/// // The input may be cut anywhere: here inside the payload of a text frame.
/// assert_eq!(decoder.feed(&mut [0x81, 5, b'h', b'e']).next()?, None);
/// let mut rest = *b"llo";
/// let mut feed = decoder.feed(&mut rest);
/// assert_eq!(feed.next()?, Some(Event::Text("hello")));
/// assert_eq!(feed.next()?, None);
/// # Ok::<(), rejoin_websocket::Error>(())
/// ```
pub struct Decoder {
    side: Side,
    /// True if permessage-deflate was negotiated.
    deflate: bool,
    status: Status,
    /// The limit of a data message with all its fragments; a change applies from the next header.
    ///
    /// It applies to a compressed message both as received and as inflated.
    max_message_bytes: usize,
    /// The start of a header, if the input ended inside one.
    partial_header: PartialHeader,
    /// The frame inside whose payload the input ended.
    frame: Option<PendingFrame>,
    /// The message whose next fragment must follow.
    continued: Option<DataMessage>,
    partial: PartialPayload,
}

/// The status of a decoder.
#[derive(Clone, Copy)]
enum Status {
    Open,
    Closed,
    Failed(Error),
}

impl Decoder {
    /// Creates a decoder; `max_message_bytes` limits each message with all its fragments.
    pub fn new(side: Side, max_message_bytes: usize) -> Self {
        Self {
            side,
            deflate: false,
            status: Status::Open,
            max_message_bytes,
            partial_header: PartialHeader::default(),
            frame: None,
            continued: None,
            partial: PartialPayload::default(),
        }
    }

    /// Accepts compressed messages, after the negotiation of permessage-deflate without context
    /// takeover.
    ///
    /// The limit of a message then applies to its compressed and to its inflated bytes. Note that
    /// incompressible data is a few bytes longer compressed than plain.
    #[must_use]
    pub fn with_deflate(self) -> Self {
        Self { deflate: true, ..self }
    }

    /// Sets the limit of a message; a frame whose header has arrived is not affected.
    pub fn set_max_message_bytes(&mut self, max: usize) {
        self.max_message_bytes = max;
    }

    /// Starts to decode `input`, the bytes that follow those of the previous call.
    ///
    /// Payloads are unmasked in place. The caller must drain the [`Feed`], or feed its
    /// [`rest`](Feed::rest) again before any other bytes. Otherwise the rest of the input is lost
    /// and later bytes are misread.
    pub fn feed<'a>(&'a mut self, input: &'a mut [u8]) -> Feed<'a> {
        Feed { decoder: self, input, read: 0 }
    }

    /// Returns `true` if the decoder is between messages.
    pub fn is_idle(&self) -> bool {
        self.partial_header.len() == 0 && self.frame.is_none() && self.continued.is_none()
    }

    /// Ends decoding, and frees the payload of an incomplete message.
    fn end(&mut self, status: Status) {
        *self = Self { status, ..Self::new(self.side, self.max_message_bytes) };
    }
}

impl fmt::Debug for Decoder {
    // The bytes are omitted: they may contain a token, which must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("side", &self.side)
            .field("max_message_bytes", &self.max_message_bytes)
            .field("idle", &self.is_idle())
            .finish_non_exhaustive()
    }
}

/// An iteration over the events in one portion of input.
pub struct Feed<'a> {
    decoder: &'a mut Decoder,
    input: &'a mut [u8],
    /// The number of bytes of `input` that are decoded or buffered.
    read: usize,
}

/// A complete message or control frame.
struct Complete {
    frame_type: FrameType,
    payload: PayloadLocation,
}

enum PayloadLocation {
    Input(Range<usize>),
    Buffer,
}

impl Feed<'_> {
    /// Returns the next message or control frame, or `None` at the end of the input.
    ///
    /// The event borrows from the input or the decoder until the next call. Input after a close is
    /// ignored.
    ///
    /// # Errors
    /// The peer's first violation; each later call returns it again. A violation is reported as
    /// soon as its byte has arrived, but one inside compressed data only when the message is
    /// complete.
    #[expect(clippy::should_implement_trait, reason = "an iterator's items cannot borrow from it")]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, Error> {
        let complete = match self.advance() {
            Ok(Some(complete)) => complete,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.decoder.end(Status::Failed(error));
                return Err(error);
            }
        };

        let buffer = &self.decoder.partial;
        let event = match (complete.frame_type, complete.payload) {
            (FrameType::Data { message, .. }, PayloadLocation::Buffer) => {
                Event::message(message.kind, buffer.bytes())
            }
            (FrameType::Data { message, .. }, PayloadLocation::Input(range)) => {
                Event::message(message.kind, &self.input[range])
            }
            (FrameType::Control(kind), PayloadLocation::Buffer) => {
                control_event(kind, buffer.control())
            }
            (FrameType::Control(kind), PayloadLocation::Input(range)) => {
                control_event(kind, &self.input[range])
            }
        };

        // The event may borrow from the buffer, so only the status changes here. The next call
        // frees the buffer.
        match event {
            Ok(Event::Close(_)) => self.decoder.status = Status::Closed,
            Ok(_) => {}
            Err(error) => self.decoder.status = Status::Failed(error),
        }

        event.map(Some)
    }

    /// Returns the input after the last event.
    ///
    /// A caller that stops before the end must feed it again before any other bytes.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.input[self.read..]
    }

    /// Decodes up to the end of a message or control frame.
    fn advance(&mut self) -> Result<Option<Complete>, Error> {
        match self.decoder.status {
            Status::Open => {}
            Status::Closed => {
                self.decoder.end(Status::Closed);
                return Ok(None);
            }
            Status::Failed(error) => return Err(error),
        }

        // The previous event no longer borrows from the buffer. Within a frame, though, the buffer
        // may hold the first bytes of a control frame's payload.
        if self.decoder.frame.is_none() {
            self.decoder.partial.release();
        }

        loop {
            let frame = match self.decoder.frame.take() {
                Some(frame) => frame,
                None => match self.header()? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };

            if let Some(complete) = self.payload(frame)? {
                return self.inflate(complete).map(Some);
            }

            if self.decoder.frame.is_some() {
                return Ok(None);
            }
        }
    }

    /// Reads a header; the bytes of an incomplete one are buffered.
    fn header(&mut self) -> Result<Option<PendingFrame>, Error> {
        let Decoder {
            side, deflate, max_message_bytes, partial_header, continued, partial, ..
        } = self.decoder;
        let rules = HeaderRules {
            side: *side,
            deflate: *deflate,
            continued: *continued,
            max_payload: max_message_bytes.saturating_sub(partial.message_len()),
        };

        // Nearly every header arrives in one piece and is parsed where it is.
        let input = &self.input[self.read..];
        let buffered = partial_header.len();
        let bytes = if buffered == 0 {
            input
        } else {
            partial_header.fill(input);
            partial_header.bytes()
        };

        if let Some((frame, len)) = header::parse(bytes, &rules)? {
            // `fill` may have copied payload bytes as well. Only the header counts as read.
            partial_header.clear();
            self.read += len - buffered;
            return Ok(Some(frame));
        }

        if buffered == 0 {
            partial_header.fill(input);
        }

        self.read = self.input.len();
        Ok(None)
    }

    /// Reads a payload; the bytes of an incomplete message are buffered.
    fn payload(&mut self, frame: PendingFrame) -> Result<Option<Complete>, Error> {
        let Decoder { partial, continued, max_message_bytes, .. } = self.decoder;
        let frame_type = frame.frame_type;
        let start = self.read;
        let len = frame.missing.min(self.input.len() - start);
        self.read += len;

        // A zero key means an unmasked frame, or a client that masks with zeros: nothing to do.
        let piece = &mut self.input[start..self.read];
        if frame.key != [0; 4] {
            mask::apply(piece, frame.key);
        }

        let missing = frame.missing - len;
        let in_input = PayloadLocation::Input(start..self.read);
        match frame_type {
            FrameType::Control(_) => {
                if missing == 0 && !partial.has_control() {
                    return Ok(Some(Complete { frame_type, payload: in_input }));
                }

                partial.extend_control(piece, missing);
                if missing == 0 {
                    return Ok(Some(Complete { frame_type, payload: PayloadLocation::Buffer }));
                }
            }
            FrameType::Data { message, is_final } => {
                let is_complete = missing == 0 && is_final;
                if is_complete {
                    *continued = None;
                    if partial.message_len() == 0 {
                        return Ok(Some(Complete { frame_type, payload: in_input }));
                    }
                }

                // The last fragment determines the length of the message. Before it, only the limit
                // bounds the growth of the buffer.
                let bound = partial.message_len() + len + missing;
                partial.extend_message(piece, if is_final { bound } else { *max_message_bytes });
                if is_complete {
                    partial.finish_message();
                    return Ok(Some(Complete { frame_type, payload: PayloadLocation::Buffer }));
                }

                // Invalid text is refused as it arrives, not after megabytes of it.
                if message.kind == MessageKind::Text && !message.compressed {
                    partial.check_text()?;
                }

                if missing == 0 {
                    *continued = Some(message);
                }
            }
        }

        if missing > 0 {
            let key = mask::advance(frame.key, len);
            self.decoder.frame = Some(PendingFrame { key, missing, ..frame });
        }

        Ok(None)
    }

    /// Inflates a compressed message into the buffer; returns any other frame unchanged.
    fn inflate(&mut self, complete: Complete) -> Result<Complete, Error> {
        let FrameType::Data { message: DataMessage { compressed: true, .. }, .. } =
            complete.frame_type
        else {
            return Ok(complete);
        };

        let Decoder { partial, max_message_bytes, .. } = self.decoder;
        let compressed = match complete.payload {
            PayloadLocation::Input(range) => &self.input[range],
            PayloadLocation::Buffer => partial.bytes(),
        };

        let message = inflate::inflate(compressed, *max_message_bytes)?;
        partial.replace_message(message);

        Ok(Complete { payload: PayloadLocation::Buffer, ..complete })
    }
}

impl fmt::Debug for Feed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("decoder", &self.decoder)
            .field("unread", &(self.input.len() - self.read))
            .finish_non_exhaustive()
    }
}

// Each idle connection owns a decoder, so its size counts once per connection.
const _: () = assert!(size_of::<Decoder>() <= 96, "the decoder must stay small");

/// Returns the event of a control frame.
fn control_event(kind: ControlKind, payload: &[u8]) -> Result<Event<'_>, Error> {
    match kind {
        ControlKind::Ping => Ok(Event::Ping(payload)),
        ControlKind::Pong => Ok(Event::Pong(payload)),
        ControlKind::Close => CloseFrame::parse(payload).map(Event::Close),
    }
}
