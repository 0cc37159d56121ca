//! The outbox: the replies of one connection, in order and bounded.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use rejoin_protocol::{CloseCode, StreamNumber};

use crate::{
    stream::{Reader, Stream},
    wire::Frame,
};

/// Replies that may wait for one connection: more than the session acknowledges at once.
pub const MAX_OUTBOX_ITEMS: usize = 8192;
/// Bytes of replies that may wait for one connection; the first item is taken whatever its size.
pub const MAX_OUTBOX_BYTES: usize = 1024 * 1024;
/// Replies that wait before nothing more is read from the peer that asks for them.
const BUSY_ITEMS: usize = 256;
/// The same in bytes.
const BUSY_BYTES: usize = 64 * 1024;

/// The writer of sockets. Its notifications never wait.
pub trait Wake: fmt::Debug + Send + Sync {
    /// A followed stream has frames that were not taken. Called with the stream locked.
    fn stream_advanced(&self, stream: StreamNumber);
    /// The outbox in this slot has items that were not taken.
    fn outbox_filled(&self, slot: usize);
}

/// One thing to do for a connection; they are done in order.
#[derive(Debug)]
pub enum Item {
    /// Send this message.
    Message(Bytes),
    /// Send the preamble, then begin to read the stream; an earlier reader of it ends.
    Read {
        /// The stream.
        stream: Stream,
        /// Messages that give the state at the reader's place.
        preamble: Vec<Frame>,
        /// Where to begin.
        reader: Reader,
    },
    /// Stop reading the stream.
    Unread(StreamNumber),
    /// Close the connection.
    Close(CloseNotice),
}

/// How a connection is closed, and when its client should come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseNotice {
    /// Why; it also says whether the client should come back at all.
    pub code: CloseCode,
    /// How long the client waits before it comes back.
    pub reconnect_after: Duration,
    /// A random part of this is added, so that not all come back at once.
    pub window: Duration,
}

impl From<CloseCode> for CloseNotice {
    /// The times that suit the code: a client that asked for too much waits longest.
    fn from(code: CloseCode) -> Self {
        let (after, window) = match code {
            CloseCode::RateLimited => (10, 10),
            CloseCode::Overloaded => (5, 30),
            CloseCode::TooSlow => (1, 5),
            _ => (0, 5),
        };
        let (reconnect_after, window) = (Duration::from_secs(after), Duration::from_secs(window));
        Self { code, reconnect_after, window }
    }
}

/// The outbox of one connection.
#[derive(Debug)]
pub struct Outbox {
    wake: Arc<dyn Wake>,
    slot: usize,
    /// The code of the close, or 0 while the connection is open. Written with `state` locked, so
    /// that nothing is queued behind a close; read without it.
    closed: AtomicU16,
    /// Held for a push or a take.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<OutboxItem>,
    bytes: usize,
    /// Bytes of preambles: they close no connection, but nothing more is read from a client
    /// before they are taken.
    preamble_bytes: usize,
    /// The writer was notified of items that it has not taken: not notified again.
    notified: bool,
    /// Messages that were queued and never sent.
    dropped: usize,
    /// What was taken before holds memory that others need.
    eviction_pending: bool,
}

impl State {
    fn drop_all(&mut self) {
        let replies = self.items.iter().filter(|item| matches!(item, OutboxItem::Message(_)));
        self.dropped += replies.count();
        self.items = VecDeque::new();
        (self.bytes, self.preamble_bytes) = (0, 0);
    }

    fn is_busy(&self) -> bool {
        self.items.len() > BUSY_ITEMS || self.bytes + self.preamble_bytes > BUSY_BYTES
    }
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(bytes) => bytes.len(),
            Self::Read { .. } | Self::Unread(_) | Self::Close(_) => 0,
        }
    }

    fn preamble_bytes(&self) -> usize {
        match self {
            Self::Read { preamble, .. } => preamble.iter().map(|frame| frame.plain().len()).sum(),
            Self::Message(_) | Self::Unread(_) | Self::Close(_) => 0,
        }
    }
}

impl Outbox {
    /// An empty outbox, whose writer knows it as `slot`.
    #[must_use]
    pub fn new(wake: Arc<dyn Wake>, slot: usize) -> Self {
        Self { wake, slot, closed: AtomicU16::new(0), state: Mutex::default() }
    }

    /// The slot by which its writer knows it.
    #[must_use]
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Adds an item. After a close nothing more is taken; when full, it becomes a close with
    /// [`CloseCode::TooSlow`].
    pub fn push(&self, item: Item) {
        let mut state = self.state.lock();
        if self.is_closed() {
            return;
        }

        let full = state.items.len() >= MAX_OUTBOX_ITEMS
            || (state.bytes + item.bytes() > MAX_OUTBOX_BYTES && !state.items.is_empty());
        let item = if full && !matches!(item, OutboxItem::Close(_)) {
            state.drop_all();
            OutboxItem::Close(CloseCode::TooSlow.into())
        } else {
            item
        };

        if let OutboxItem::Close(goodbye) = &item {
            self.closed.store(goodbye.code.code(), Ordering::Release);
        }
        state.bytes += item.bytes();
        state.preamble_bytes += item.preamble_bytes();
        state.items.push_back(item);

        // A writer that waits for its socket was notified already, but must learn of a close.
        if !state.notified || self.is_closed() {
            state.notified = true;
            drop(state);
            self.wake.outbox_filled(self.slot);
        }
    }

    /// Takes all items, oldest first; the writer is notified of the next one.
    #[must_use]
    pub fn take(&self) -> VecDeque<OutboxItem> {
        let mut state = self.state.lock();
        (state.bytes, state.preamble_bytes) = (0, 0);
        (state.notified, state.eviction_pending) = (false, false);
        mem::take(&mut state.items)
    }

    /// Has the connection closed with [`CloseCode::TooSlow`] if its socket takes nothing now.
    pub(crate) fn evict_if_stalled(&self) {
        self.state.lock().eviction_pending = true;
        self.wake.outbox_filled(self.slot);
    }

    /// Whether a socket that takes nothing is to be closed.
    #[must_use]
    pub fn is_eviction_pending(&self) -> bool {
        self.state.lock().eviction_pending
    }

    /// Closes without a goodbye: drops what waits, and takes nothing more. Returns how many
    /// messages were dropped since the last call.
    pub fn abort(&self) -> usize {
        let mut state = self.state.lock();
        let normal = CloseCode::Normal.code();
        let _ = self.closed.compare_exchange(0, normal, Ordering::AcqRel, Ordering::Acquire);
        state.drop_all();
        mem::take(&mut state.dropped)
    }

    /// Whether so much waits that nothing more should be read from the client.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.state.lock().is_busy()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.lock().items.is_empty()
    }

    /// Whether a close waits, or was taken.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.close_code().is_some()
    }

    /// The code of the close that waits or was taken ([`CloseCode::code`]).
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        Some(self.closed.load(Ordering::Acquire)).filter(|code| *code != 0)
    }
}
