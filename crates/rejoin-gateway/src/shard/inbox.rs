//! The inbox of a shard: commands and notifications from other threads.

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
    accept::Accept,
    peer::Peer,
    pending::{PendingSlot, SlotOwner},
    shard::UpgradedSocket,
    socket::{JobListener, JobResult},
};

/// A handle to a shard.
#[derive(Clone)]
pub(super) struct ShardHandle {
    shared: Arc<Shared>,
}

struct Shared {
    /// Held for one push or one swap. May be taken under a stream's lock, never the reverse.
    ///
    /// Its size is bounded: it contains each stream and each outbox at most once, and each
    /// connection has at most one job, and one pending snapshot per reader. Each socket enters
    /// once.
    inbox: Mutex<Inbox>,
    waker: Waker,
    /// The number of the shard's connections, including those that are on their way to it.
    load: AtomicUsize,
    /// `true` if the shard was working for more than three quarters of the last window.
    is_busy: AtomicBool,
}

/// The contents of an inbox.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Streams with new frames. A stream notifies again only after the shard has taken them.
    pub(super) streams: Vec<StreamNumber>,
    /// Slots of filled outboxes. An outbox does not notify again until it is emptied or closed.
    pub(super) outboxes: Vec<usize>,
    pub(super) commands: Vec<Command>,
    /// The shard is waiting in its poll. The next push wakes it.
    is_asleep: bool,
    /// The shard has ended. Pushes are dropped.
    is_closed: bool,
}

/// A command to a shard.
#[derive(Debug)]
pub(super) enum Command {
    /// Accept sockets from this listener.
    Listen(TcpListener, Arc<Accept>),
    /// Take ownership of a socket whose first request has not arrived.
    Open(TcpStream, PendingSlot, Peer),
    /// Take ownership of an upgraded socket.
    Adopt(Box<UpgradedSocket>),
    /// A job of a connection has ended.
    JobEnded(Arc<Outbox>, Box<JobResult>),
    /// The snapshot for a reader that fell behind. `None` if the stream no longer has an owner.
    Snapshot(Arc<Outbox>, StreamNumber, Option<Snapshot>),
    /// Close the connection in this slot if its pending slot is evicted.
    Evict(usize),
    /// Close all connections.
    Drain,
}

impl ShardHandle {
    /// Creates the handle. The poll reports `token` when a push wakes the shard.
    ///
    /// # Errors
    /// If the system runs out of file descriptors.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let waker = Waker::new(registry, token)?;
        let (inbox, load) = (Mutex::default(), AtomicUsize::new(0));
        let is_busy = AtomicBool::new(false);
        Ok(Self { shared: Arc::new(Shared { inbox, waker, load, is_busy }) })
    }

    /// Sends a command. Drops it if the shard has ended.
    pub(super) fn send(&self, command: Command) {
        self.shared.send(command);
    }

    /// Returns `true` if the shard still takes commands.
    pub(super) fn is_open(&self) -> bool {
        !self.shared.inbox.lock().is_closed
    }

    /// Returns the number of the shard's connections.
    pub(super) fn load(&self) -> usize {
        // Relaxed, here and below: the values only guide the choice of a shard for new sockets.
        self.shared.load.load(Ordering::Relaxed)
    }

    pub(super) fn add_load(&self) {
        self.shared.load.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_load(&self) {
        self.shared.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns `true` if the shard was working for more than three quarters of the last window.
    pub(super) fn is_busy(&self) -> bool {
        self.shared.is_busy.load(Ordering::Relaxed)
    }

    pub(super) fn set_busy(&self, busy: bool) {
        self.shared.is_busy.store(busy, Ordering::Relaxed);
    }

    /// Returns the handle through which streams and outboxes notify the shard.
    pub(super) fn wake(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.shared) as _
    }

    /// Returns the handle through which evictions close connections of the shard.
    pub(super) fn slot_owner(&self) -> Arc<dyn SlotOwner> {
        Arc::clone(&self.shared) as _
    }

    /// Returns the handle through which jobs report their results.
    pub(super) fn job_listener(&self) -> Arc<dyn JobListener> {
        Arc::clone(&self.shared) as _
    }

    /// Swaps the contents of the inbox with `into`, whose lists must be empty.
    ///
    /// The two inboxes alternate, so that neither allocates in the steady state.
    pub(super) fn take(&self, into: &mut Inbox) {
        let mut inbox = self.shared.inbox.lock();
        mem::swap(&mut inbox.streams, &mut into.streams);
        mem::swap(&mut inbox.outboxes, &mut into.outboxes);
        mem::swap(&mut inbox.commands, &mut into.commands);
    }

    /// Prepares for a wait. Returns `false` if the inbox has contents: the shard must not wait.
    ///
    /// The check and the flag share one lock, so a push is either seen here or wakes the poll.
    pub(super) fn fall_asleep(&self) -> bool {
        let mut inbox = self.shared.inbox.lock();
        inbox.is_asleep = inbox.is_empty();
        inbox.is_asleep
    }

    /// Ends the wait. Until the next wait, pushes save the system call that wakes the shard.
    pub(super) fn wake_up(&self) {
        self.shared.inbox.lock().is_asleep = false;
    }

    /// Closes the inbox unless it contains commands. Returns `true` if it is closed.
    pub(super) fn close(&self) -> bool {
        let mut inbox = self.shared.inbox.lock();
        // Commands hold sockets and slots, so they are handled before the inbox closes.
        inbox.is_closed = inbox.commands.is_empty();
        inbox.is_closed
    }

    /// Returns `true` if both are handles to the same shard.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Inbox {
    fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.outboxes.is_empty() && self.commands.is_empty()
    }
}

impl Shared {
    fn send(&self, command: Command) {
        self.push(|inbox| inbox.commands.push(command));
    }

    fn push(&self, push: impl FnOnce(&mut Inbox)) {
        let mut inbox = self.inbox.lock();
        if inbox.is_closed {
            return;
        }

        push(&mut inbox);
        if mem::take(&mut inbox.is_asleep) {
            // Released before the wake-up, because the shard takes this lock as soon as it wakes.
            drop(inbox);

            // Fails only if the poll is gone, and the shard with it.
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

impl SlotOwner for Shared {
    fn evict(&self, slot: usize) {
        self.send(Command::Evict(slot));
    }
}

impl JobListener for Shared {
    fn job_ended(&self, outbox: &Arc<Outbox>, result: JobResult) {
        self.send(Command::JobEnded(Arc::clone(outbox), Box::new(result)));
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
