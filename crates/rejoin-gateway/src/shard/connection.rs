//! One connection: its socket, its phase, and its readers.

use std::{fmt, io::ErrorKind, mem, sync::Arc};

use rejoin_core::{CloseNotice, Outbox};
use rejoin_protocol::{CloseCode, StreamNumber};
use tokio::time::Instant;

use crate::{
    accept::Opening,
    pending::PendingSlot,
    shard::{output::Output, timer_queue::Tick},
    socket::{Client, Flow, Now, SocketState},
};

/// The maximum number of bytes that one connection reads per pass. Bounds the time for which it
/// delays the shard's other connections.
const READ_BUDGET: usize = 64 * 1024;

/// A socket and everything that belongs to it. Only its shard accesses it.
#[derive(Debug)]
pub(super) struct Connection {
    /// First in memory, because a broadcast accesses only this field.
    pub(super) output: Output,
    pub(super) phase: Phase,
    /// The streams that the connection reads, with the index of its entry in each stream's readers.
    reads: Vec<(StreamNumber, usize)>,
    /// The tick of the current timer. Later entries in the timer queue are ignored.
    timer: Option<Tick>,
    /// The socket may have unread bytes or an unread end of stream. The poll is edge-triggered, so
    /// it does not report them again.
    readable: bool,
    /// The peer has ended its side. Bytes that it sent before may still be unread.
    ended: bool,
    /// `true` while the connection is in the shard's list `readable`.
    pub(super) in_readable: bool,
    /// `true` while the connection is in the shard's list `dirty`.
    pub(super) in_dirty: bool,
    /// `true` while the connection is in the shard's list `behind`.
    pub(super) in_behind: bool,
}

const _: () = assert!(size_of::<Connection>() <= 128, "a connection must fit two cache lines");

/// The phase of a connection. Transitions only ever go to a later phase.
pub(super) enum Phase {
    /// The shard reads the head of the first request.
    Opening(Box<Opening>),
    /// A WebSocket. The only phase that executes messages.
    Open(Box<Client>),
    /// The close is decided and the client released. Pending output is being sent until a deadline.
    Closing(Box<ClosingState>),
    /// All output is sent. The peer may send its close frame until a deadline.
    Lingering(Box<LingeringState>),
}

/// The state of a connection between the decision to close and its last message.
#[derive(Debug)]
pub(super) struct ClosingState {
    /// The last message, while the readers are still catching up. `None` once it is in the output.
    pub(super) notice: Option<CloseNotice>,
    /// The deadline at which the socket is cut, even if output is pending.
    pub(super) until: Instant,
    /// The number in the queue of closing connections.
    pub(super) number: u64,
}

/// The state of a connection between its last message and the peer's end.
#[derive(Debug)]
pub(super) struct LingeringState {
    /// The deadline at which the socket is closed.
    pub(super) until: Instant,
    /// The slot among the lingering sockets, which are evicted before all others.
    pub(super) place: Option<PendingSlot>,
}

/// The reason why a connection stopped reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// No bytes are left, or no more may be read for now.
    Enough,
    /// The budget is used up. The next pass continues.
    More,
    /// The connection must be closed with this code.
    Close(CloseCode),
    /// The peer has ended the stream, or the socket is broken.
    End,
}

impl Connection {
    pub(super) fn new(output: Output, phase: Phase) -> Self {
        Self {
            output,
            phase,
            reads: Vec::new(),
            timer: None,
            // Bytes that arrived before the registration trigger no event.
            readable: true,
            ended: false,
            in_readable: false,
            in_dirty: false,
            in_behind: false,
        }
    }

    /// Returns the client while the connection is open.
    pub(super) fn client(&mut self) -> Option<&mut Client> {
        match &mut self.phase {
            Phase::Open(client) => Some(client),
            _ => None,
        }
    }

    /// Returns `true` if the connection is open and `outbox` is its outbox.
    pub(super) fn has_outbox(&mut self, outbox: &Arc<Outbox>) -> bool {
        self.client().is_some_and(|client| Arc::ptr_eq(client.outbox(), outbox))
    }

    /// Records that the socket has something to read. If `ended`, the peer has ended its side.
    pub(super) fn set_readable(&mut self, ended: bool) {
        self.readable = true;
        self.ended |= ended;
    }

    /// Records that all bytes were read. A reported end of stream is still unread.
    pub(super) fn clear_readable(&mut self) {
        self.readable = self.ended;
    }

    /// Returns `true` if a read could make progress.
    pub(super) fn wants_read(&self) -> bool {
        match &self.phase {
            Phase::Open(client) => client.may_read() && (self.readable || client.has_unread()),
            Phase::Opening(_) | Phase::Lingering(_) => self.readable,
            Phase::Closing(_) => false,
        }
    }

    /// Reads and executes messages until the socket is empty or the budget is used up.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Read {
        let mut budget = READ_BUDGET;
        while self.wants_read() {
            if budget == 0 {
                return Read::More;
            }
            let Phase::Open(client) = &mut self.phase else { return Read::Enough };

            // Bytes that followed a message with a job come first, because they arrived first.
            let flow = if client.has_unread() {
                budget = budget.saturating_sub(buffer.len());
                client.receive_unread()
            } else {
                let count = match self.output.transport().receive(buffer) {
                    Ok(0) => return Read::End,
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.readable = false;
                        return Read::Enough;
                    }
                    Err(_) => return Read::End,
                };

                // Saves a read that would only return `WouldBlock`.
                if self.output.transport().has_drained(count, buffer.len()) {
                    self.readable = self.ended;
                }
                budget = budget.saturating_sub(count);
                client.receive(&mut buffer[..count])
            };

            match flow {
                // A later step of the pass takes the outbox and closes the connection.
                Flow::Continue if client.outbox().is_closed() => return Read::Enough,
                Flow::Continue => {}
                Flow::Close(code) => return Read::Close(code),
            }
        }

        Read::Enough
    }

    /// Updates whether reading is paused because the peer does not read its replies.
    ///
    /// Must be called after each read and each flush, because the outbox does not notify the shard
    /// again while replies are queued behind a full socket. Pending stream frames do not pause
    /// reading, so that a user on a slow connection can still type.
    pub(super) fn update_stall(&mut self) {
        let is_blocked = self.output.is_blocked();
        if let Some(client) = self.client() {
            let stalled = is_blocked && client.outbox().is_busy();
            client.set_stalled(stalled);
        }
    }

    /// Reads and discards bytes from the peer. Returns `true` if the peer has ended its side.
    pub(super) fn discard(&mut self, buffer: &mut [u8]) -> bool {
        let mut budget = READ_BUDGET;
        while budget > 0 {
            match self.output.transport().receive(buffer) {
                Ok(0) => return true,
                Ok(count) => budget = budget.saturating_sub(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return false;
                }
                Err(_) => return true,
            }
        }

        false
    }

    /// Acts on the deadlines of an open connection. Returns the next deadline.
    ///
    /// # Errors
    /// The code with which the connection must be closed.
    pub(super) fn check_deadlines(&mut self, now: Now) -> Result<Instant, CloseCode> {
        let is_blocked = self.output.is_blocked();
        let Phase::Open(client) = &mut self.phase else { return Ok(now.at) };

        let transport = self.output.transport();
        let has_unread = || transport.has_unread();
        client.check_deadlines(now, SocketState { is_blocked, has_unread: &has_unread })
    }

    /// Sets the timer unless an earlier one is set. Returns `true` if it was set.
    pub(super) fn set_timer(&mut self, tick: Tick) -> bool {
        let is_sooner = self.timer.is_none_or(|set| tick < set);
        if is_sooner {
            self.timer = Some(tick);
        }
        is_sooner
    }

    /// Clears the timer, so that a later one can be set.
    pub(super) fn clear_timer(&mut self) {
        self.timer = None;
    }

    /// Clears the timer if the expired `tick` is the current one. Returns `true` if it was.
    pub(super) fn take_timer(&mut self, tick: Tick) -> bool {
        self.timer.take_if(|set| *set == tick).is_some()
    }

    /// Returns the streams that the connection reads, each with the index of its entry.
    pub(super) fn reads(&self) -> &[(StreamNumber, usize)] {
        &self.reads
    }

    /// Returns the index of the connection's entry among the readers of `stream`.
    pub(super) fn reader_index(&self, stream: StreamNumber) -> Option<usize> {
        let read = self.reads.iter().find(|(number, _)| *number == stream);
        read.map(|(_, index)| *index)
    }

    pub(super) fn add_read(&mut self, stream: StreamNumber, index: usize) {
        if self.reads.is_empty() {
            // `push` would reserve room for four. Most connections read one stream, and there are
            // many connections.
            self.reads.reserve_exact(1);
        }

        self.reads.push((stream, index));
    }

    pub(super) fn remove_read(&mut self, stream: StreamNumber) {
        self.reads.retain(|(number, _)| *number != stream);
    }

    /// Removes and returns all readers of the connection.
    pub(super) fn take_reads(&mut self) -> Vec<(StreamNumber, usize)> {
        mem::take(&mut self.reads)
    }

    /// Records that the connection's entry among the readers of `stream` has moved to `index`.
    pub(super) fn set_reader_index(&mut self, stream: StreamNumber, index: usize) {
        if let Some(read) = self.reads.iter_mut().find(|(number, _)| *number == stream) {
            read.1 = index;
        }
    }
}

impl fmt::Debug for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Opening(_) => "Opening",
            Self::Open(_) => "Open",
            Self::Closing(_) => "Closing",
            Self::Lingering(_) => "Lingering",
        })
    }
}
