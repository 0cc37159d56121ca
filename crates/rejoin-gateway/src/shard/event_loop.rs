//! The poll loop of a shard, and the order of steps in one pass.

use std::{io, mem, time::Duration};

use mio::{Events, Token};
use rejoin_core::now_ms;
use tokio::time::Instant;
use tracing::error;

use crate::{
    shard::{
        LISTENER, Shard, WAKER,
        acceptor::Acceptor,
        inbox::{Command, Inbox},
    },
    socket::Now,
};

/// The maximum number of events that one poll returns.
const EVENTS: usize = 1024;
/// The period over which a shard's load is measured. Long enough that a single burst does not count
/// as load, and short enough that new sockets soon go elsewhere.
const LOAD_WINDOW: Duration = Duration::from_millis(100);

/// Measures the share of time that a shard spends waiting in its poll.
#[derive(Debug)]
pub(super) struct LoadMeter {
    window_start: Instant,
    waited: Duration,
}

impl Shard {
    /// Runs until the shutdown has begun and all sockets are closed.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut inbox = Inbox::default();

        while !(self.draining.is_some() && self.has_ended()) {
            self.turn(&mut events, &mut inbox, None);
        }
    }

    /// Waits for work, at most `max_wait`, and then makes one pass.
    pub(super) fn turn(
        &mut self,
        events: &mut Events,
        inbox: &mut Inbox,
        max_wait: Option<Duration>,
    ) {
        self.wait(events, max_wait);
        self.handle_events(events);
        self.pass(inbox);
    }

    /// Makes one pass: reads and executes, takes the inbox, then writes once to each socket.
    ///
    /// Each step processes only the entries that are listed when it begins. Entries added during
    /// the step wait for the next pass, so that one busy connection cannot hold up the others.
    fn pass(&mut self, inbox: &mut Inbox) {
        self.fire_timers();
        self.drain_next();
        for _ in 0..self.work.readable.len() {
            if let Some(slot) = self.work.readable.pop_front() {
                self.read(slot);
            }
        }

        // Taken after the reads: the messages just executed may have filled this shard's inbox.
        self.handle.take(inbox);
        self.work.advanced.extend(inbox.streams.drain(..));
        for command in inbox.commands.drain(..) {
            self.handle_command(command);
        }
        for slot in inbox.outboxes.drain(..) {
            self.mark_dirty(slot);
        }

        // Replies come before frames: a connection that receives both gets them in one write, and
        // the `ack` of a `subscribe` precedes the stream's first frame. Connections that this adds
        // to the list are flushed below.
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

        // A flush may list connections again, such as those that it closes. They wait for the next
        // pass. Appending them to the drained list reuses its memory.
        dirty.append(&mut self.work.dirty);
        self.work.dirty = dirty;
    }

    /// Waits in the poll until a socket, the waker or a timer has work.
    fn wait(&mut self, events: &mut Events, max_wait: Option<Duration>) {
        let now = Instant::now();

        // `fall_asleep` must come last: once it returns `true`, pushes to the inbox wake the poll.
        let may_sleep = self.work.is_empty() && !self.has_undrained() && self.handle.fall_asleep();
        let timeout = if may_sleep {
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
        if let Some(is_busy) = self.meter.add(now, Instant::now()) {
            self.handle.set_busy(is_busy);
        }
    }

    /// Lists the connections that the poll has reported.
    fn handle_events(&mut self, events: &Events) {
        for event in events {
            match event.token() {
                // The waker only ends the wait. The pass takes the inbox in any case.
                WAKER => {}
                LISTENER => self.accept(),
                Token(slot) => {
                    let Some(connection) = self.connections.get_mut(slot) else { continue };

                    if event.is_writable() && connection.output.is_blocked() {
                        connection.output.unblock();
                        self.mark_dirty(slot);
                    }

                    let Some(connection) = self.connections.get_mut(slot) else { continue };

                    let has_ended = event.is_read_closed() || event.is_error();
                    if event.is_readable() || has_ended {
                        connection.set_readable(has_ended);
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
            Command::Adopt(socket) => self.adopt(*socket),
            Command::JobEnded(outbox, result) => self.finish_job(&outbox, *result),
            Command::Snapshot(outbox, stream, snapshot) => {
                self.apply_snapshot(&outbox, stream, snapshot);
            }
            Command::Evict(slot) => self.evict(slot),
            Command::Drain => self.drain(),
        }
    }

    /// Checks the deadlines of the connections whose timers are due.
    fn fire_timers(&mut self) {
        if self.timers.is_empty() {
            return;
        }

        let now = Instant::now();
        while let Some((tick, slot)) = self.timers.expire(now) {
            if slot == Acceptor::TIMER_SLOT {
                self.resume_accepting();
            } else if let Some(connection) = self.connections.get_mut(slot)
                && connection.take_timer(tick)
            {
                self.check_deadlines(slot, Now { at: now, unix_ms: now_ms() });
            }
        }
    }

    /// Closes the inbox if all sockets are closed. Returns `true` if the shard has ended.
    fn has_ended(&self) -> bool {
        self.connections.is_empty() && self.handle.close()
    }
}

impl LoadMeter {
    pub(super) fn new() -> Self {
        Self { window_start: Instant::now(), waited: Duration::ZERO }
    }

    /// Records a wait from `begin` to `end`. At the end of a window, returns `Some(true)` if the
    /// shard was working for more than three quarters of it.
    fn add(&mut self, begin: Instant, end: Instant) -> Option<bool> {
        self.waited += end.saturating_duration_since(begin);
        let window = end.saturating_duration_since(self.window_start);
        if window < LOAD_WINDOW {
            return None;
        }

        let is_busy = self.waited < window / 4;
        (self.window_start, self.waited) = (end, Duration::ZERO);
        Some(is_busy)
    }
}
