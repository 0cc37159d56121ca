//! The messages between a keeper and its client, the server.
//!
//! Each side starts with a [`header`]: eight magic bytes and the version. Messages follow, each as
//! length (32 bits), kind (8 bits) and fields, in little-endian order.
//!
//! The format is extensible: a new version adds kinds, or fields at the end of a kind. A receiver
//! skips unknown kinds and ignores bytes after the fields that it knows, so that a keeper of an old
//! version can serve a new server.

mod decoder;

pub use decoder::Decoder;

/// The version of the wire format that this build uses.
pub const VERSION: u16 = 1;
/// The magic bytes at the start of each direction.
pub const MAGIC: [u8; 8] = *b"rjkeeper";
/// The length of the header, in bytes: the magic bytes and the version.
pub const HEADER_BYTES: usize = 10;
/// The maximum length of a message with its kind, in bytes: 1 MiB of input and the other fields.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024 + 4096;
/// The maximum length of a writer's name, in bytes.
pub const MAX_WRITER_BYTES: usize = 255;
/// The length of an `Output` report without its output, in bytes: the message's length, kind and
/// offset, and the length of the output.
const OUTPUT_HEAD_BYTES: usize = 4 + 1 + 8 + 4;

/// An error in received bytes. The connection can no longer be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The connection does not start with the magic bytes.
    #[error("the peer does not speak the keeper's protocol")]
    Magic,
    /// The length of a message is zero or above [`MAX_MESSAGE_BYTES`].
    #[error("a message of {0} bytes; 1 to {MAX_MESSAGE_BYTES} are allowed")]
    Length(u32),
    /// A message ends within a field.
    #[error("a message of kind {0} is too short")]
    Truncated(u8),
}

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Send everything that happened from this offset on, and everything that follows.
    Follow {
        /// The number of bytes of output before the first one to send.
        offset: u64,
    },
    /// The server has processed the output before this offset.
    Acknowledge {
        /// Bytes of output.
        offset: u64,
    },
    /// Type bytes.
    Input(Input),
    /// Drop an input, if none of its bytes has been typed yet. Answered with `Written`.
    Cancel {
        /// The input's number.
        number: u64,
    },
    /// Change the size.
    Resize(Size),
    /// Send a signal to the terminal's foreground process group.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// End the program: SIGHUP, and SIGKILL after a grace period.
    HangUp,
}

/// Bytes to type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The number of the input on this connection. `Written` refers to it.
    pub number: u64,
    /// The writer, and the number in the writer's series. Each number is typed only once.
    pub key: Option<InputKey>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A writer, and a number in the writer's series of inputs.
pub type InputKey = (Box<[u8]>, u64);

/// The size of a terminal, in cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// A message of the keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The first report of a connection.
    Hello(Hello),
    /// Output, in order. A `Gap` precedes output that does not directly follow the previous output.
    Output {
        /// The number of bytes of output before this.
        offset: u64,
        /// The output.
        bytes: Vec<u8>,
    },
    /// The size changed, at this point in the output.
    Resized {
        /// The number of bytes of output before the change.
        offset: u64,
        /// The new size.
        size: Size,
    },
    /// The program has ended. No output follows.
    Exited {
        /// The total output, in bytes.
        offset: u64,
        /// The exit.
        exit: Exit,
    },
    /// An input was completely written to the PTY, or was dropped.
    Written {
        /// The input's number.
        number: u64,
    },
    /// An input was refused because too much input is queued.
    Refused {
        /// The input's number.
        number: u64,
    },
    /// Output is missing, because its segment was dropped or could not be written.
    Gap {
        /// The offset of the next output.
        offset: u64,
    },
}

/// The state of a keeper when a client connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The program's process id.
    pub pid: u32,
    /// The offset of the oldest output in the log.
    pub oldest: u64,
    /// The offset after the newest output.
    pub next: u64,
    /// The current size.
    pub size: Size,
    /// The last input number of each writer that the keeper remembers.
    pub writers: Vec<InputKey>,
}

/// The exit of a program. Both code and signal are `None` if they are unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// The exit code.
    pub code: Option<i32>,
    /// The number of the signal that ended the program.
    pub signal: Option<i32>,
    /// `true` if the system killed the program because it exceeded its memory limit.
    pub is_out_of_memory: bool,
}

/// Returns the header that each side sends first.
#[must_use]
pub fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..MAGIC.len()].copy_from_slice(&MAGIC);
    header[MAGIC.len()..].copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// A message that can be encoded and decoded.
pub trait Message: Sized {
    /// Appends the message to `out`.
    fn encode(&self, out: &mut Vec<u8>);
    /// Decodes a message of this kind. Returns `None` for an unknown kind.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    fn decode(kind: u8, fields: &[u8]) -> Result<Option<Self>, WireError>;
}

impl Message for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        // Each number is part of the wire format and must never be reused for another kind.
        match self {
            Self::Follow { offset } => message(out, 1, |out| u64_to(out, *offset)),
            Self::Acknowledge { offset } => message(out, 2, |out| u64_to(out, *offset)),
            Self::Input(input) => message(out, 3, |out| {
                u64_to(out, input.number);
                key_to(out, input.key.as_ref());
                bytes_to(out, &input.bytes);
            }),
            Self::Cancel { number } => message(out, 4, |out| u64_to(out, *number)),
            Self::Resize(size) => message(out, 5, |out| size_to(out, *size)),
            Self::Signal { signal } => message(out, 6, |out| {
                out.extend_from_slice(&signal.to_le_bytes());
            }),
            Self::HangUp => message(out, 7, |_| {}),
        }
    }

    fn decode(kind: u8, fields: &[u8]) -> Result<Option<Self>, WireError> {
        let mut fields = Fields { kind, rest: fields };
        Ok(Some(match kind {
            1 => Self::Follow { offset: fields.u64()? },
            2 => Self::Acknowledge { offset: fields.u64()? },
            3 => {
                let (number, key) = (fields.u64()?, fields.key()?);
                Self::Input(Input { number, key, bytes: fields.bytes()?.to_vec() })
            }
            4 => Self::Cancel { number: fields.u64()? },
            5 => Self::Resize(fields.size()?),
            6 => Self::Signal { signal: fields.i32()? },
            7 => Self::HangUp,
            // A kind of a later version, which the decoder skips.
            _ => return Ok(None),
        }))
    }
}

impl Message for Report {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => message(out, 1, |out| {
                out.extend_from_slice(&hello.pid.to_le_bytes());
                u64_to(out, hello.oldest);
                u64_to(out, hello.next);
                size_to(out, hello.size);
                let count = u16::try_from(hello.writers.len()).unwrap_or(u16::MAX);
                out.extend_from_slice(&count.to_le_bytes());
                for writer in hello.writers.iter().take(usize::from(count)) {
                    key_to(out, Some(writer));
                }
            }),
            Self::Output { offset, bytes } => output_to(out, *offset, bytes),
            Self::Resized { offset, size } => message(out, 3, |out| {
                u64_to(out, *offset);
                size_to(out, *size);
            }),
            Self::Exited { offset, exit } => message(out, 4, |out| {
                u64_to(out, *offset);
                exit_to(out, *exit);
            }),
            Self::Written { number } => message(out, 5, |out| u64_to(out, *number)),
            Self::Refused { number } => message(out, 6, |out| u64_to(out, *number)),
            Self::Gap { offset } => message(out, 7, |out| u64_to(out, *offset)),
        }
    }

    fn decode(kind: u8, fields: &[u8]) -> Result<Option<Self>, WireError> {
        let mut fields = Fields { kind, rest: fields };
        Ok(Some(match kind {
            1 => {
                let pid = fields.u32()?;
                let (oldest, next, size) = (fields.u64()?, fields.u64()?, fields.size()?);
                let mut writers = Vec::new();
                for _ in 0..fields.u16()? {
                    writers.extend(fields.key()?);
                }
                Self::Hello(Hello { pid, oldest, next, size, writers })
            }
            2 => Self::Output { offset: fields.u64()?, bytes: fields.bytes()?.to_vec() },
            3 => Self::Resized { offset: fields.u64()?, size: fields.size()? },
            4 => Self::Exited { offset: fields.u64()?, exit: fields.exit()? },
            5 => Self::Written { number: fields.u64()? },
            6 => Self::Refused { number: fields.u64()? },
            7 => Self::Gap { offset: fields.u64()? },
            _ => return Ok(None),
        }))
    }
}

/// Appends an `Output` report without copying the bytes into a [`Report`] first.
pub(crate) fn output_to(out: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    out.extend_from_slice(&output_head(offset, bytes.len()));
    out.extend_from_slice(bytes);
}

/// Returns what precedes the bytes of an `Output` report.
pub(crate) fn output_head(offset: u64, length: usize) -> [u8; OUTPUT_HEAD_BYTES] {
    let field = |length| u32::try_from(length).expect("messages are bounded").to_le_bytes();
    let mut head = [0; OUTPUT_HEAD_BYTES];
    // A message's length excludes its own field.
    head[..4].copy_from_slice(&field(OUTPUT_HEAD_BYTES - 4 + length));
    head[4] = 2;
    head[5..13].copy_from_slice(&offset.to_le_bytes());
    head[13..].copy_from_slice(&field(length));
    head
}

fn message(out: &mut Vec<u8>, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    fields(out);

    let length = u32::try_from(out.len() - start - 4).expect("messages are bounded");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

fn u64_to(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn size_to(out: &mut Vec<u8>, size: Size) {
    out.extend_from_slice(&size.cols.to_le_bytes());
    out.extend_from_slice(&size.rows.to_le_bytes());
}

pub(crate) fn exit_to(out: &mut Vec<u8>, exit: Exit) {
    let flags = [exit.code.is_some(), exit.signal.is_some(), exit.is_out_of_memory];
    // The first flag is the lowest bit. Earlier versions ignore bits that they do not know.
    out.push(flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
    out.extend_from_slice(&exit.code.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&exit.signal.unwrap_or(0).to_le_bytes());
}

fn bytes_to(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("messages are bounded");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a writer and a number. An empty writer stands for `None`.
fn key_to(out: &mut Vec<u8>, key: Option<&InputKey>) {
    let (writer, seq) = key.map_or((&[][..], 0), |(writer, seq)| (&writer[..], *seq));
    let writer = &writer[..writer.len().min(MAX_WRITER_BYTES)];
    out.push(u8::try_from(writer.len()).expect("at most 255"));
    out.extend_from_slice(writer);
    u64_to(out, seq);
}

/// The fields of a message that have not been read yet.
pub(crate) struct Fields<'a> {
    pub(crate) kind: u8,
    pub(crate) rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or(WireError::Truncated(self.kind))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated(self.kind))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Result<i32, WireError> {
        self.array().map(i32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn size(&mut self) -> Result<Size, WireError> {
        Ok(Size { cols: self.u16()?, rows: self.u16()? })
    }

    pub(crate) fn exit(&mut self) -> Result<Exit, WireError> {
        let [flags] = self.array()?;
        let (code, signal) = (self.i32()?, self.i32()?);
        Ok(Exit {
            code: (flags & 1 != 0).then_some(code),
            signal: (flags & 2 != 0).then_some(signal),
            is_out_of_memory: flags & 4 != 0,
        })
    }

    fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.u32()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn key(&mut self) -> Result<Option<InputKey>, WireError> {
        let [length] = self.array()?;
        let (writer, seq) = (self.take(usize::from(length))?, self.u64()?);
        Ok((!writer.is_empty()).then(|| (writer.into(), seq)))
    }
}
