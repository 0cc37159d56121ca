//! The outbox: the replies to one connection, in order and bounded.

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
use rejoin_protocol::{CloseCode, StreamNumber, message::Window};

use crate::{
    frame::Frame,
    lock::{Mutex, level::OUTBOX},
    stream::{Reader, SnapshotHolder, Stream},
    wake::Wake,
};

/// The maximum number of queued items: more than a session acknowledges at once.
pub const MAX_OUTBOX_ITEMS: usize = 8192;
/// The maximum size of queued messages. The first message is accepted regardless of its size.
pub const MAX_OUTBOX_BYTES: usize = 1024 * 1024;
/// The number of queued items above which the server stops reading from the client.
const BUSY_ITEMS: usize = 256;
/// The size of queued messages, in bytes, above which the server stops reading from the client.
const BUSY_BYTES: usize = 64 * 1024;

/// An instruction for the writer of a connection. The writer executes them in order.
#[derive(Debug)]
pub enum OutboxItem {
    /// Sends an encoded message.
    Message(Bytes),
    /// Sends a control frame of the transport, such as a ping.
    Control(Bytes),
    /// Sends the preamble, then starts to read the stream. Replaces an earlier reader of it.
    StartReading {
        /// The stream.
        stream: Stream,
        /// Messages with the state at the reader's position.
        preamble: Vec<Frame>,
        /// The first frame to read.
        reader: Reader,
        /// The bytes that may be sent ahead of the client's acknowledgements.
        window: Option<Window>,
    },
    /// Stops reading the stream.
    StopReading(StreamNumber),
    /// Closes the connection.
    Close(CloseNotice),
}

/// The announcement of a close, with the time for the client to reconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseNotice {
    /// The code, whose range says whether the client should reconnect at all.
    pub code: CloseCode,
    /// The minimum delay before the client reconnects.
    pub reconnect_after: Duration,
    /// The maximum of a random extra delay, which spreads the reconnects of many clients.
    pub window: Duration,
}

impl From<CloseCode> for CloseNotice {
    /// Returns the delays for a code: the longest for a client that exceeded a limit.
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
///
/// ```
/// use std::sync::Arc;
///
/// use rejoin_core::{Outbox, OutboxItem, Wake};
/// use rejoin_protocol::{CloseCode, StreamNumber};
///
/// #[derive(Debug)]
/// struct Shard;
///
/// impl Wake for Shard {
///     fn stream_advanced(&self, _stream: StreamNumber) {}
///
///     fn outbox_filled(&self, slot: usize) {
///         assert_eq!(slot, 7);
///     }
/// }
///
/// let outbox = Outbox::new(Arc::new(Shard), 7);
/// outbox.push(OutboxItem::Message("hello".into()));
/// outbox.push(OutboxItem::Close(CloseCode::Normal.into()));
///
/// // Nothing is queued behind a close.
/// outbox.push(OutboxItem::Message("too late".into()));
/// assert_eq!(outbox.take().len(), 2);
/// ```
pub struct Outbox {
    wake: Arc<dyn Wake>,
    slot: usize,
    /// The code of the close; 0 while the connection is open. Written with `state` locked, so
    /// that nothing is queued behind a close. Read without the lock.
    closed: AtomicU16,
    state: Mutex<State, OUTBOX>,
}

#[derive(Default)]
struct State {
    items: VecDeque<OutboxItem>,
    /// Bytes of queued messages.
    bytes: usize,
    /// Bytes of queued preambles. They never close a connection, but make the outbox busy.
    preamble_bytes: usize,
    /// The writer was notified and has not taken the items since: no second notification.
    is_notified: bool,
    /// Messages that were queued and never sent, since the last [`Outbox::abort`].
    dropped: usize,
    /// The frames of old snapshots that the connection must not hold any longer. The writer takes
    /// them in its next pass.
    evicted: Vec<Frame>,
}

impl State {
    fn drop_all(&mut self) {
        let replies = self
            .items
            .iter()
            .filter(|item| matches!(item, OutboxItem::Message(_) | OutboxItem::Control(_)));
        self.dropped += replies.count();
        self.items = VecDeque::new();
        (self.bytes, self.preamble_bytes) = (0, 0);
    }

    fn is_busy(&self) -> bool {
        self.items.len() > BUSY_ITEMS || self.bytes + self.preamble_bytes > BUSY_BYTES
    }
}

impl OutboxItem {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(bytes) | Self::Control(bytes) => bytes.len(),
            Self::StartReading { .. } | Self::StopReading(_) | Self::Close(_) => 0,
        }
    }

    fn preamble_bytes(&self) -> usize {
        match self {
            Self::StartReading { preamble, .. } => {
                preamble.iter().map(|frame| frame.plain().len()).sum()
            }
            _ => 0,
        }
    }
}

impl Outbox {
    /// Creates an empty outbox. `slot` identifies it in calls of `wake`.
    #[must_use]
    pub fn new(wake: Arc<dyn Wake>, slot: usize) -> Self {
        Self { wake, slot, closed: AtomicU16::new(0), state: Mutex::default() }
    }

    /// Returns the slot that identifies the outbox to its writer.
    #[must_use]
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Queues an item. Never blocks.
    ///
    /// Drops the item after a close. An item that exceeds a limit becomes a close with
    /// [`CloseCode::TooSlow`].
    pub fn push(&self, item: OutboxItem) {
        let mut state = self.state.lock();
        if self.is_closed() {
            return;
        }

        // The first message is accepted regardless of its size: the limit protects against a queue.
        let is_full = state.items.len() >= MAX_OUTBOX_ITEMS
            || (state.bytes + item.bytes() > MAX_OUTBOX_BYTES && !state.items.is_empty());
        let item = if is_full && !matches!(item, OutboxItem::Close(_)) {
            state.drop_all();
            OutboxItem::Close(CloseCode::TooSlow.into())
        } else {
            item
        };

        // With the lock held: no later push may pass the check above.
        if let OutboxItem::Close(notice) = &item {
            self.closed.store(notice.code.code(), Ordering::Release);
        }

        state.bytes += item.bytes();
        state.preamble_bytes += item.preamble_bytes();
        state.items.push_back(item);

        // A writer that waits for its socket was notified before, and still must learn of a close.
        if !state.is_notified || self.is_closed() {
            state.is_notified = true;
            drop(state);
            self.wake.outbox_filled(self.slot);
        }
    }

    /// Takes all items, oldest first. The writer is notified of the next one.
    #[must_use]
    pub fn take(&self) -> VecDeque<OutboxItem> {
        let mut state = self.state.lock();
        (state.bytes, state.preamble_bytes) = (0, 0);
        // Items pushed from here on notify the writer again.
        state.is_notified = false;
        mem::take(&mut state.items)
    }

    /// Takes the frames of old snapshots. The writer closes the connection if it holds one.
    #[must_use]
    pub fn take_evicted(&self) -> Vec<Frame> {
        mem::take(&mut self.state.lock().evicted)
    }

    /// Returns `true` if one of these frames is queued.
    #[must_use]
    pub fn holds(&self, frames: &[Frame]) -> bool {
        let is_listed = |frame: &Frame| frames.iter().any(|listed| listed.is_same(frame));
        self.state.lock().items.iter().any(|item| match item {
            OutboxItem::StartReading { preamble, .. } => preamble.iter().any(is_listed),
            _ => false,
        })
    }

    /// Closes the outbox without sending what is queued.
    ///
    /// Returns the number of messages dropped since the last call.
    pub fn abort(&self) -> usize {
        let mut state = self.state.lock();
        let normal = CloseCode::Normal.code();
        // An earlier close keeps its code.
        let _ = self.closed.compare_exchange(0, normal, Ordering::AcqRel, Ordering::Acquire);
        state.drop_all();
        mem::take(&mut state.dropped)
    }

    /// Returns `true` while so much is queued that the server should stop reading from the client.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.state.lock().is_busy()
    }

    /// Returns `true` if no item is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.lock().items.is_empty()
    }

    /// Returns `true` once a close was queued, taken or not.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.close_code().is_some()
    }

    /// Returns the [code](CloseCode::code) of the close that was queued.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        Some(self.closed.load(Ordering::Acquire)).filter(|code| *code != 0)
    }
}

impl SnapshotHolder for Outbox {
    fn evict_if_holding(&self, snapshot: &[Frame]) {
        self.state.lock().evicted.extend_from_slice(snapshot);
        // In any case: the writer was notified of these items before.
        self.wake.outbox_filled(self.slot);
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("slot", &self.slot)
            .field("close_code", &self.close_code())
            .finish_non_exhaustive()
    }
}
