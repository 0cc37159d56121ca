//! What other threads tell a shard.

use std::{
    fmt, io, mem,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use mio::{Registry, Token, Waker, net::TcpStream};
use parking_lot::Mutex;
use rejoin_core::{Outbox, Snapshot, Wake};
use rejoin_protocol::StreamNumber;

use crate::{
    accept::{Accept, PendingSlot},
    peer::Peer,
    shard::Arrival,
    socket::Done,
};

/// A handle to a shard.
#[derive(Clone)]
pub(crate) struct ShardHandle {
    shared: Arc<Shared>,
}

struct Shared {
    /// Held for a push or a swap; taken with a stream's lock held, never the other way round.
    ///
    /// Bounded by what it tells of: each stream and each outbox is in it once, each connection
    /// has one job and one snapshot for each reader under way, and each socket arrives once.
    inbox: Mutex<Inbox>,
    waker: Waker,
    /// Connections of the shard, those on their way to it included.
    load: AtomicUsize,
    /// Whether it works for more than three quarters of its time.
    is_busy: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Streams that advanced; each is here once until the shard takes from it.
    pub(super) streams: Vec<StreamNumber>,
    /// Slots whose outboxes have items; each is here once until the shard empties it, or closes.
    pub(super) outboxes: Vec<usize>,
    pub(super) commands: Vec<Command>,
    /// The shard waits for its poll: the next push wakes it.
    is_asleep: bool,
    /// The shard has ended: what is pushed is dropped.
    is_closed: bool,
}

/// One thing to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Accept sockets.
    Listen(TcpListener, Arc<Accept>),
    /// Own a socket whose first request has not arrived.
    Open(TcpStream, PendingSlot, Peer),
    /// Own a socket that is upgraded.
    Adopt(Box<Arrival>),
    /// A job of a connection has ended.
    Done(Arc<Outbox>, Box<Done>),
    /// A reader that fell behind gets the state; `None` if there is none any more.
    Snapshot(Arc<Outbox>, StreamNumber, Option<Snapshot>),
    /// A connection whose first request has not arrived makes room.
    Evict(usize),
    /// Close all connections.
    Drain,
}

impl ShardHandle {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let waker = Waker::new(registry, token)?;
        let (inbox, load) = (Mutex::default(), AtomicUsize::new(0));
        let is_busy = AtomicBool::new(false);
        Ok(Self { shared: Arc::new(Shared { inbox, waker, load, is_busy }) })
    }

    /// Reports the end of a connection's job.
    pub(crate) fn report(&self, outbox: &Arc<Outbox>, done: Done) {
        self.send(Command::Done(Arc::clone(outbox), Box::new(done)));
    }

    /// Closes the connection in a slot if it is evicted.
    pub(crate) fn evict(&self, slot: usize) {
        self.send(Command::Evict(slot));
    }

    pub(super) fn send(&self, command: Command) {
        self.shared.push(|inbox| inbox.commands.push(command));
    }

    /// Whether the shard still takes commands.
    pub(super) fn is_open(&self) -> bool {
        !self.shared.inbox.lock().is_closed
    }

    /// How many connections it has.
    pub(super) fn load(&self) -> usize {
        self.shared.load.load(Ordering::Relaxed)
    }

    pub(super) fn add_load(&self) {
        self.shared.load.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_load(&self) {
        self.shared.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether it worked for more than three quarters of its time lately.
    pub(super) fn is_busy(&self) -> bool {
        self.shared.is_busy.load(Ordering::Relaxed)
    }

    pub(super) fn set_busy(&self, busy: bool) {
        self.shared.is_busy.store(busy, Ordering::Relaxed);
    }

    /// The handle as streams and outboxes use it.
    pub(super) fn wake(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.shared) as _
    }

    /// Swaps what has come into an empty inbox.
    pub(super) fn take(&self, into: &mut Inbox) {
        let mut inbox = self.shared.inbox.lock();
        mem::swap(&mut inbox.streams, &mut into.streams);
        mem::swap(&mut inbox.outboxes, &mut into.outboxes);
        mem::swap(&mut inbox.commands, &mut into.commands);
    }

    /// Prepares to wait. Returns `false` if something has come meanwhile.
    pub(super) fn fall_asleep(&self) -> bool {
        let mut inbox = self.shared.inbox.lock();
        inbox.is_asleep = inbox.is_empty();
        inbox.is_asleep
    }

    /// Ends the wait: pushes do not wake the shard any more.
    pub(super) fn wake_up(&self) {
        self.shared.inbox.lock().is_asleep = false;
    }

    /// Takes no more commands, unless some have come. Returns whether it is closed.
    pub(super) fn close(&self) -> bool {
        let mut inbox = self.shared.inbox.lock();
        inbox.is_closed = inbox.commands.is_empty();
        inbox.is_closed
    }

    /// Whether both are handles to the same shard.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Inbox {
    fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.outboxes.is_empty() && self.commands.is_empty()
    }
}

impl Shared {
    fn push(&self, push: impl FnOnce(&mut Inbox)) {
        let mut inbox = self.inbox.lock();
        if inbox.is_closed {
            return;
        }
        push(&mut inbox);
        if mem::take(&mut inbox.is_asleep) {
            drop(inbox);
            // It fails only if the poll is gone, and the shard with it.
            let _ = self.waker.wake();
        }
    }
}

impl Wake for Shared {
    fn stream_advanced(&self, stream: StreamNumber) {
        self.push(|inbox| inbox.streams.push(stream));
    }

    fn outbox_filled(&self, slot: usize) {
        self.push(|inbox| inbox.outboxes.push(slot));
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("load", &self.load).finish_non_exhaustive()
    }
}

impl fmt::Debug for ShardHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardHandle").field("load", &self.load()).finish_non_exhaustive()
    }
}
