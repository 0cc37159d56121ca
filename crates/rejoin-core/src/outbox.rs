//! The outbox: what one connection is told besides its streams, in order and bounded.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use rejoin_protocol::{CloseCode, StreamNumber};
use tokio::sync::Notify;

use crate::{
    connection::Connection,
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

/// Whoever writes to sockets: told, without waiting, that there is something to write.
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
    /// Look after the connection: that it is heard of, and that its token has not ended. Again
    /// when its token was replaced.
    Attend(Connection),
    /// Say goodbye, then end the connection.
    Close(Goodbye),
}

/// How a connection is closed, and when its client should come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// Why; it also says whether the client should come back at all.
    pub code: CloseCode,
    /// How long the client waits before it comes back.
    pub reconnect_after: Duration,
    /// A random part of this is added, so that not all come back at once.
    pub window: Duration,
}

impl From<CloseCode> for Goodbye {
    /// As it suits the code: whoever asked for too much waits longest.
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
    /// Held for a push or a pop.
    state: Mutex<State>,
    /// Told when the outbox is no longer busy; only the reading side waits.
    relief: Notify,
    /// Told once, when the reading side has ended; only the writer waits.
    abandoned: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// Bytes of preambles: they end nobody's connection, but nothing more is asked for before
    /// they are taken.
    preamble_bytes: usize,
    /// The writer was told of items that it has not taken: not told again.
    told: bool,
    closed: bool,
    /// Messages that were taken and never sent.
    dropped: usize,
}

impl State {
    fn drop_all(&mut self) {
        let replies = self.items.iter().filter(|item| matches!(item, Item::Message(_)));
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
            Self::Read { .. } | Self::Unread(_) | Self::Attend(_) | Self::Close(_) => 0,
        }
    }

    fn preamble_bytes(&self) -> usize {
        match self {
            Self::Read { preamble, .. } => preamble.iter().map(|frame| frame.plain().len()).sum(),
            Self::Message(_) | Self::Unread(_) | Self::Attend(_) | Self::Close(_) => 0,
        }
    }
}

impl Outbox {
    /// An empty outbox, whose writer knows it as `slot`.
    #[must_use]
    pub fn new(wake: Arc<dyn Wake>, slot: usize) -> Self {
        Self {
            wake,
            slot,
            state: Mutex::default(),
            relief: Notify::new(),
            abandoned: Notify::new(),
        }
    }

    /// Adds an item. After a close nothing more is taken; when full, it becomes a close with
    /// [`CloseCode::TooSlow`].
    pub fn push(&self, item: Item) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        let full = state.items.len() >= MAX_OUTBOX_ITEMS
            || (state.bytes + item.bytes() > MAX_OUTBOX_BYTES && !state.items.is_empty());
        let item = if full && !matches!(item, Item::Close(_)) {
            state.drop_all();
            Item::Close(CloseCode::TooSlow.into())
        } else {
            item
        };
        state.closed = matches!(item, Item::Close(_));
        state.bytes += item.bytes();
        state.preamble_bytes += item.preamble_bytes();
        if state.closed {
            self.relief.notify_one();
        }
        state.items.push_back(item);
        // A writer that waits for its socket was told already, but must hear of the end.
        if !state.told || state.closed {
            state.told = true;
            drop(state);
            self.wake.outbox_filled(self.slot);
        }
    }

    /// Takes the oldest item; after `None` the writer is told of the next one.
    pub fn pop(&self) -> Option<Item> {
        let mut state = self.state.lock();
        let busy = state.is_busy();
        let item = state.items.pop_front();
        match &item {
            Some(item) => {
                state.bytes -= item.bytes();
                state.preamble_bytes -= item.preamble_bytes();
                if busy && !state.is_busy() {
                    self.relief.notify_one();
                }
            }
            None => {
                state.told = false;
                // An idle connection holds no buffer.
                state.items.shrink_to_fit();
            }
        }
        item
    }

    /// Ends without a goodbye: what waits is dropped, and nothing more is taken. Returns how many
    /// messages were dropped in its whole life.
    ///
    /// For the writer, when it has let the socket go: nobody takes anything any more.
    pub fn end(&self) -> usize {
        let mut state = self.state.lock();
        state.closed = true;
        state.drop_all();
        self.relief.notify_one();
        state.dropped
    }

    /// Whether so much waits that nothing more should be asked for.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.state.lock().is_busy()
    }

    /// Completes when the outbox is not busy, or closed. For one waiter. Cancel safe: yes.
    pub async fn relief(&self) {
        while self.is_busy() && !self.is_closed() {
            // One permit is kept, so what is told between the look and the wait is not missed.
            self.relief.notified().await;
        }
    }

    /// Says that the reading side has ended: the peer is gone, or nobody listens to it any more.
    pub fn abandon(&self) {
        self.abandoned.notify_one();
    }

    /// Completes when the reading side has ended. For one waiter. Cancel safe: yes.
    pub async fn abandoned(&self) {
        self.abandoned.notified().await;
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.lock().items.is_empty()
    }

    /// Whether a close waits, or was taken.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }
}
