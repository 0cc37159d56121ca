//! How payloads become bytes on the wire, which core leaves to the gateway.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

/// Whether a message is text or binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// Lays parts one after another as one message, framed for the wire.
///
/// Called once for each frame, whatever the number of its readers.
pub type Encode = fn(PayloadKind, &[&[u8]]) -> Bytes;

/// How a message looks to one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrameEncoding {
    /// As it was encoded.
    #[default]
    Plain,
    /// Smaller, for those who agreed to it.
    Compressed,
    /// Nothing but what the program said, for those who speak no protocol of ours.
    Raw,
}

impl FrameEncoding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Compressed, Self::Raw];
}

/// Makes another form of an encoded message; empty: nothing goes over the wire in this form.
pub type Transcode = fn(&Bytes, FrameEncoding) -> Bytes;

/// Makes, away from the threads of sockets, the forms of a large frame that they would have to make.
pub type Prepare = fn(&Frame);

/// A message as it goes over the wire: encoded once, and in each further form once.
#[derive(Clone)]
pub struct Frame {
    shared: Arc<Shared>,
}

struct Shared {
    plain: Bytes,
    /// Not there until somebody asks for another form: most frames have no other reader.
    others: OnceLock<Box<[OnceLock<Bytes>; 2]>>,
}

impl Frame {
    /// Its bytes as they were encoded.
    #[must_use]
    pub fn plain(&self) -> &Bytes {
        &self.shared.plain
    }

    /// Whether another handle to it exists, or to the bytes of one of its forms.
    #[must_use]
    pub(crate) fn is_shared(&self) -> bool {
        let mut others = self.shared.others.get().into_iter().flat_map(|others| others.iter());
        Arc::strong_count(&self.shared) > 1
            || !self.shared.plain.is_unique()
            || others.any(|form| form.get().is_some_and(|bytes| !bytes.is_unique()))
    }

    /// Its bytes in a form, made by the first who asks, for all who do; who asks at the same
    /// time waits. `transcode` is the same function each time.
    #[must_use]
    pub fn form(&self, form: FrameEncoding, transcode: Transcode) -> &Bytes {
        let index = match form {
            FrameEncoding::Plain => return self.plain(),
            FrameEncoding::Compressed => 0,
            FrameEncoding::Raw => 1,
        };
        let others = self.shared.others.get_or_init(Box::default);
        others[index].get_or_init(|| transcode(self.plain(), form))
    }
}

impl From<Bytes> for Frame {
    fn from(plain: Bytes) -> Self {
        Self { shared: Arc::new(Shared { plain, others: OnceLock::new() }) }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("bytes", &self.plain().len()).finish()
    }
}
