//! The shard's loop.

use std::{
    collections::{HashMap, VecDeque},
    io, mem,
    sync::Arc,
    time::Duration,
};

use mio::{Events, Poll, Token};
use rejoin_core::{Metrics, now_ms};
use rejoin_protocol::StreamNumber;
use slab::Slab;
use tokio::time::Instant;
use tracing::error;

use crate::shard::{
    Context, ShardHandle,
    acceptor::Acceptor,
    batch::Joined,
    close::ClosingQueue,
    connection::Connection,
    inbox::{Command, Inbox},
    keepalive::Now,
    readers::Readers,
    timer_queue::TimerQueue,
};

/// Events that one look at the poll returns.
const EVENTS: usize = 1024;
/// Bytes that one read takes from a socket.
const READ_BYTES: usize = 64 * 1024;
/// How long a shard is measured before it counts as busy or not.
const BUSY_WINDOW: Duration = Duration::from_millis(100);
/// The token of the waker, and that of the listener; a connection has its slot.
const WAKER: Token = Token(usize::MAX);
pub(super) const LISTENER: Token = Token(usize::MAX - 1);

/// A shard's state, all of it its own.
pub(super) struct Shard {
    pub(super) context: Context,
    pub(super) metrics: Arc<Metrics>,
    pub(super) handle: ShardHandle,
    pub(super) poll: Poll,
    pub(super) acceptor: Option<Acceptor>,
    pub(super) connections: Slab<Connection>,
    pub(super) streams: HashMap<StreamNumber, Readers>,
    pub(super) timers: TimerQueue,
    pub(super) closing: ClosingQueue,
    pub(super) work: Work,
    meter: Meter,
    /// While the server stops: the first slot whose connection was not closed.
    pub(super) draining: Option<usize>,
    pub(super) joined: Joined,
    /// Where reads go.
    pub(super) buffer: Vec<u8>,
    /// Where messages are laid side by side for a write.
    pub(super) scratch: Vec<u8>,
}

/// Lists of things to do in this pass or the next.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Connections to read.
    pub(super) readable: VecDeque<usize>,
    /// Connections with items in their outboxes, or with something to send.
    pub(super) dirty: Vec<usize>,
    /// Connections with readers that are behind.
    pub(super) behind: VecDeque<usize>,
    /// Streams that may have more.
    pub(super) advanced: VecDeque<StreamNumber>,
}

impl Shard {
    /// A shard that does not run yet, and its handle.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub(super) fn new(context: Context) -> io::Result<(Self, ShardHandle)> {
        let poll = Poll::new()?;
        let handle = ShardHandle::new(poll.registry(), WAKER)?;
        let shard = Self {
            metrics: Arc::clone(context.gateway.hub.metrics()),
            context,
            handle: handle.clone(),
            poll,
            acceptor: None,
            connections: Slab::new(),
            streams: HashMap::new(),
            timers: TimerQueue::new(),
            closing: ClosingQueue::default(),
            work: Work::default(),
            meter: Meter::new(),
            draining: None,
            joined: Joined::default(),
            buffer: vec![0; READ_BYTES],
            scratch: Vec::new(),
        };
        Ok((shard, handle))
    }

    /// Runs until the shutdown has begun and all sockets are closed.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut inbox = Inbox::default();
        while !(self.draining.is_some() && self.has_ended()) {
            self.turn(&mut events, &mut inbox, None);
        }
    }

    /// Waits until there is something to do, for `max_wait` at most, and does it.
    pub(super) fn turn(
        &mut self,
        events: &mut Events,
        inbox: &mut Inbox,
        max_wait: Option<Duration>,
    ) {
        self.wait(events, max_wait);
        self.note_events(events);
        self.pass(inbox);
    }

    /// One pass: read and handle, take what came, then write once to each socket.
    fn pass(&mut self, inbox: &mut Inbox) {
        self.ring();
        self.drain_some();
        for _ in 0..self.work.readable.len() {
            if let Some(slot) = self.work.readable.pop_front() {
                self.read(slot);
            }
        }

        // What the messages above caused is in the inbox as well.
        self.handle.take(inbox);
        self.work.advanced.extend(inbox.streams.drain(..));
        for command in inbox.commands.drain(..) {
            self.handle_command(command);
        }
        for slot in inbox.outboxes.drain(..) {
            self.mark_dirty(slot);
        }

        // Replies before frames: those who get both get them in one write.
        for index in 0..self.work.dirty.len() {
            self.take_outbox(self.work.dirty[index]);
        }
        for _ in 0..self.work.advanced.len() {
            if let Some(stream) = self.work.advanced.pop_front() {
                self.broadcast(stream);
            }
        }
        for _ in 0..self.work.behind.len() {
            if let Some(slot) = self.work.behind.pop_front() {
                self.catch_up(slot);
            }
        }
        let mut dirty = mem::take(&mut self.work.dirty);
        for slot in dirty.drain(..) {
            self.flush(slot);
        }
        // Flushing may close connections, which makes others of them dirty.
        dirty.append(&mut self.work.dirty);
        self.work.dirty = dirty;
    }

    fn wait(&mut self, events: &mut Events, max_wait: Option<Duration>) {
        let now = Instant::now();
        let timeout = if self.work.is_empty() && !self.has_unclosed() && self.handle.fall_asleep() {
            [self.timers.wait(now), max_wait].into_iter().flatten().min()
        } else {
            Some(Duration::ZERO)
        };
        if let Err(error) = self.poll.poll(events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            error!(%error, "the poll failed");
        }
        self.handle.wake_up();
        if let Some(busy) = self.meter.add(now, Instant::now()) {
            self.handle.set_busy(busy);
        }
    }

    fn note_events(&mut self, events: &Events) {
        for event in events {
            match event.token() {
                WAKER => {}
                LISTENER => self.accept(),
                Token(slot) => {
                    let Some(connection) = self.connections.get_mut(slot) else { continue };
                    if event.is_writable() && connection.output.is_blocked() {
                        connection.output.unblock();
                        self.mark_dirty(slot);
                    }
                    let Some(connection) = self.connections.get_mut(slot) else { continue };
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        connection.set_readable(event.is_read_closed() || event.is_error());
                        self.mark_readable(slot);
                    }
                }
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Listen(listener, accept) => self.listen(listener, accept),
            Command::Open(socket, slot, peer) => self.open(socket, slot, peer),
            Command::Adopt(arrival) => self.adopt(*arrival),
            Command::Done(outbox, done) => self.finish_job(&outbox, *done),
            Command::Snapshot(outbox, stream, snapshot) => {
                self.skip_to(&outbox, stream, snapshot);
            }
            Command::Evict(slot) => self.evict(slot),
            Command::Drain => self.drain(),
        }
    }

    /// Looks after the connections whose alarms ring.
    fn ring(&mut self) {
        if self.timers.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some((tick, slot)) = self.timers.expire(now) {
            if slot == Acceptor::ALARM {
                self.accept_again();
            } else if let Some(connection) = self.connections.get_mut(slot)
                && connection.take_alarm(tick)
            {
                self.look_after(slot, Now { at: now, day: now_ms() });
            }
        }
    }

    /// Sets a connection's alarm, unless an earlier one is set.
    pub(super) fn set_alarm(&mut self, slot: usize, at: Instant) {
        let tick = self.timers.tick(at);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.set_alarm(tick) {
            self.timers.insert(tick, slot);
        }
    }

    pub(super) fn mark_readable(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot)
            && connection.wants_read()
            && !mem::replace(&mut connection.in_readable, true)
        {
            self.work.readable.push_back(slot);
        }
    }

    pub(super) fn mark_dirty(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot)
            && !mem::replace(&mut connection.in_dirty, true)
        {
            self.work.dirty.push(slot);
        }
    }

    pub(super) fn mark_behind(&mut self, slot: usize) {
        mark_behind(&mut self.connections, &mut self.work.behind, slot);
    }

    /// Whether all sockets are closed, and so the shard is.
    fn has_ended(&self) -> bool {
        self.connections.is_empty() && self.handle.close()
    }
}

/// Sees to it that a connection's readers get a turn.
pub(super) fn mark_behind(
    connections: &mut Slab<Connection>,
    behind: &mut VecDeque<usize>,
    slot: usize,
) {
    if let Some(connection) = connections.get_mut(slot)
        && !mem::replace(&mut connection.in_behind, true)
    {
        behind.push_back(slot);
    }
}

/// Measures for how much of its time the shard waits.
#[derive(Debug)]
struct Meter {
    begun_at: Instant,
    waited: Duration,
}

impl Meter {
    fn new() -> Self {
        Self { begun_at: Instant::now(), waited: Duration::ZERO }
    }

    /// Adds a wait. At the end of a window, returns whether the shard worked for more than three
    /// quarters of it.
    fn add(&mut self, begin: Instant, end: Instant) -> Option<bool> {
        self.waited += end.saturating_duration_since(begin);
        let window = end.saturating_duration_since(self.begun_at);
        if window < BUSY_WINDOW {
            return None;
        }
        let is_busy = self.waited < window / 4;
        (self.begun_at, self.waited) = (end, Duration::ZERO);
        Some(is_busy)
    }
}

impl Work {
    fn is_empty(&self) -> bool {
        self.readable.is_empty()
            && self.dirty.is_empty()
            && self.behind.is_empty()
            && self.advanced.is_empty()
    }
}
