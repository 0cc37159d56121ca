//! The incremental decoder: bytes in any portions in, whole messages out.

mod header;
mod held;
mod inflate;

use std::{fmt, ops::Range};

pub(crate) use self::header::{Control, MASKED, MAX_CONTROL_BYTES, length};
use self::{
    header::{Beginning, Expected, Frame, Message, Part},
    held::Held,
};
use crate::{Error, Event, MessageKind, mask};

/// The side of the connection that decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Decodes a client's frames, which must be masked (RFC 6455 §5.1).
    Server,
    /// Decodes a server's frames, which must not be masked (RFC 6455 §5.1).
    Client,
}

/// The decoding state of one connection.
///
/// Owns no heap memory between messages. Within one, it owns at most twice the bytes that arrived
/// of it, whatever its header declares. A compressed message is inflated when it is whole: into at
/// most `max_message_bytes`, by a state of about 48 kB that exists for that call only.
pub struct Decoder {
    side: Side,
    /// Whether permessage-deflate is agreed on.
    deflate: bool,
    life: Life,
    /// The bound on a data message, all its fragments together; applies from the next header on.
    /// Of a compressed one it bounds both, what arrives and what that inflates to.
    max_message_bytes: usize,
    /// Not empty only where the input ended inside a header.
    beginning: Beginning,
    /// The frame whose payload the input ended in.
    frame: Option<Frame>,
    /// The message whose next fragment is awaited.
    continued: Option<Message>,
    held: Held,
}

/// Whether there is anything left to decode.
#[derive(Clone, Copy)]
enum Life {
    Open,
    Closed,
    Failed(Error),
}

impl Decoder {
    /// Makes a decoder that bounds a message, all its fragments together, in bytes.
    pub fn new(side: Side, max_message_bytes: usize) -> Self {
        Self {
            side,
            deflate: false,
            life: Life::Open,
            max_message_bytes,
            beginning: Beginning::default(),
            frame: None,
            continued: None,
            held: Held::default(),
        }
    }

    /// Accepts compressed messages: permessage-deflate is agreed on, without context takeover.
    ///
    /// The bound on a message then holds for its compressed bytes as well as for what they inflate
    /// to. What does not compress may be a few bytes longer compressed than plain.
    #[must_use]
    pub fn with_deflate(self) -> Self {
        Self { deflate: true, ..self }
    }

    /// Changes the bound on a message; a frame whose header has arrived is not affected.
    pub fn set_max_message_bytes(&mut self, max: usize) {
        self.max_message_bytes = max;
    }

    /// Starts decoding `input`, the bytes that follow those of the last call.
    ///
    /// Payloads are unmasked in place. Drain the [`Feed`], or feed its [`rest`](Feed::rest) again
    /// later: dropped earlier, it loses the rest of the input, and what is fed after that has no
    /// meaning.
    pub fn feed<'a>(&'a mut self, input: &'a mut [u8]) -> Feed<'a> {
        Feed { decoder: self, input, read: 0 }
    }

    /// Tells whether no part of a message or frame is held.
    pub fn is_idle(&self) -> bool {
        self.beginning.len() == 0 && self.frame.is_none() && self.continued.is_none()
    }

    fn end(&mut self, life: Life) {
        *self = Self { life, ..Self::new(self.side, self.max_message_bytes) };
    }
}

impl fmt::Debug for Decoder {
    // Without the bytes: they may be a token, and end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("side", &self.side)
            .field("max_message_bytes", &self.max_message_bytes)
            .field("idle", &self.is_idle())
            .finish_non_exhaustive()
    }
}

/// The decoding of one portion of input.
pub struct Feed<'a> {
    decoder: &'a mut Decoder,
    input: &'a mut [u8],
    /// The bytes of `input` that are decoded or held.
    read: usize,
}

/// A whole message or control frame, and where its payload lies.
struct Ready {
    part: Part,
    place: Place,
}

enum Place {
    Input(Range<usize>),
    Held,
}

impl Feed<'_> {
    /// Gives the next message or control frame; `None` when the input is used up.
    ///
    /// The event borrows from the input or the decoder until the next call. After a close, the
    /// input is ignored.
    ///
    /// # Errors
    /// The peer's first violation, from then on at each call. One in the middle of a message is
    /// found as soon as its byte has arrived; one inside compressed data, when its message is whole.
    #[expect(clippy::should_implement_trait, reason = "it lends, an iterator cannot")]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, Error> {
        let ready = match self.advance() {
            Ok(Some(ready)) => ready,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.decoder.end(Life::Failed(error));
                return Err(error);
            }
        };
        let held = &self.decoder.held;
        let event = match (ready.part, ready.place) {
            (Part::Data { message, .. }, Place::Held) => Event::message(message.kind, held.bytes()),
            (Part::Data { message, .. }, Place::Input(at)) => {
                Event::message(message.kind, &self.input[at])
            }
            (Part::Control(control), Place::Held) => Event::control(control, held.control()),
            (Part::Control(control), Place::Input(at)) => Event::control(control, &self.input[at]),
        };
        match event {
            Ok(Event::Close(_)) => self.decoder.life = Life::Closed,
            Ok(_) => {}
            Err(error) => self.decoder.life = Life::Failed(error),
        }
        event.map(Some)
    }

    /// The input after the last event. A caller that stops here feeds it again, before other bytes.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.input[self.read..]
    }

    /// Decodes up to the end of a message or control frame.
    fn advance(&mut self) -> Result<Option<Ready>, Error> {
        match self.decoder.life {
            Life::Open => {}
            Life::Closed => {
                self.decoder.end(Life::Closed);
                return Ok(None);
            }
            Life::Failed(error) => return Err(error),
        }
        if self.decoder.frame.is_none() {
            self.decoder.held.release();
        }
        loop {
            let frame = match self.decoder.frame.take() {
                Some(frame) => frame,
                None => match self.header()? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            if let Some(ready) = self.payload(frame)? {
                return self.inflated(ready).map(Some);
            }
            if self.decoder.frame.is_some() {
                return Ok(None);
            }
        }
    }

    /// Reads a header; what there is of an incomplete one is kept.
    fn header(&mut self) -> Result<Option<Frame>, Error> {
        let Decoder { side, deflate, max_message_bytes, beginning, continued, held, .. } =
            self.decoder;
        let expected = Expected {
            side: *side,
            deflate: *deflate,
            continued: *continued,
            room: max_message_bytes.saturating_sub(held.message_len()),
        };
        let input = &self.input[self.read..];
        let kept = beginning.len();
        let bytes = if kept == 0 {
            input
        } else {
            beginning.fill(input);
            beginning.bytes()
        };
        if let Some((frame, len)) = header::parse(bytes, &expected)? {
            beginning.clear();
            self.read += len - kept;
            return Ok(Some(frame));
        }
        if kept == 0 {
            beginning.fill(input);
        }
        self.read = self.input.len();
        Ok(None)
    }

    /// Reads a payload; what there is of an incomplete message is kept.
    fn payload(&mut self, frame: Frame) -> Result<Option<Ready>, Error> {
        let Decoder { held, continued, max_message_bytes, .. } = self.decoder;
        let start = self.read;
        let len = frame.missing.min(self.input.len() - start);
        self.read += len;
        let piece = &mut self.input[start..self.read];
        if frame.key != [0; 4] {
            mask::apply(piece, frame.key);
        }
        let missing = frame.missing - len;
        let in_place = Place::Input(start..self.read);

        match frame.part {
            Part::Control(_) => {
                if missing == 0 && !held.has_control() {
                    return Ok(Some(Ready { part: frame.part, place: in_place }));
                }
                held.extend_control(piece, missing);
                if missing == 0 {
                    return Ok(Some(Ready { part: frame.part, place: Place::Held }));
                }
            }
            Part::Data { message, last } => {
                let whole = missing == 0 && last;
                if whole {
                    *continued = None;
                    if held.message_len() == 0 {
                        return Ok(Some(Ready { part: frame.part, place: in_place }));
                    }
                }
                let bound = held.message_len() + len + missing;
                held.extend_message(piece, if last { bound } else { *max_message_bytes });
                if whole {
                    held.finish_message();
                    return Ok(Some(Ready { part: frame.part, place: Place::Held }));
                }
                if message.kind == MessageKind::Text && !message.compressed {
                    held.check_text()?;
                }
                if missing == 0 {
                    *continued = Some(message);
                }
            }
        }
        if missing > 0 {
            let key = mask::advance(frame.key, len);
            self.decoder.frame = Some(Frame { key, missing, ..frame });
        }
        Ok(None)
    }

    /// Inflates a message if it is compressed; what it inflates to is held.
    fn inflated(&mut self, ready: Ready) -> Result<Ready, Error> {
        let Part::Data { message: Message { compressed: true, .. }, .. } = ready.part else {
            return Ok(ready);
        };
        let Decoder { held, max_message_bytes, .. } = self.decoder;
        let compressed = match ready.place {
            Place::Input(at) => &self.input[at],
            Place::Held => held.bytes(),
        };
        let message = inflate::inflate(compressed, *max_message_bytes)?;
        held.replace_message(message);
        Ok(Ready { place: Place::Held, ..ready })
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

const _: () = assert!(size_of::<Decoder>() <= 96, "each idle connection owns a decoder");
