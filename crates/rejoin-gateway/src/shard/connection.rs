//! One connection: its socket, its phase, and its readers.

use std::{io::ErrorKind, sync::Arc};

use rejoin_core::Outbox;
use rejoin_protocol::{CloseCode, StreamNumber};
use tokio::time::Instant;

use crate::{
    accept::Opening,
    shard::{close::Closing, keepalive::Now, output::Output, timer_queue::Tick},
    socket::{Client, Flow, SocketState},
};

/// Bytes that one connection may read before others get a turn.
const READ_BUDGET: usize = 64 * 1024;

/// A socket and all that belongs to it. Only its shard touches it.
#[derive(Debug)]
pub(super) struct Connection {
    /// First, because broadcasts look at nothing else.
    pub(super) output: Output,
    pub(super) phase: Phase,
    /// Streams that it reads, and the place of its reader among a stream's.
    reads: Vec<(StreamNumber, usize)>,
    /// The tick of its alarm.
    alarm: Option<Tick>,
    /// The socket has bytes, or its end, that were not read.
    readable: bool,
    /// The peer sends nothing more; what it sent before may be unread.
    ended: bool,
    /// Set while it is in the shard's list of connections to read.
    pub(super) in_readable: bool,
    /// Set while it is in the list of connections to flush.
    pub(super) in_dirty: bool,
    /// Set while it is in the list of connections whose readers are behind.
    pub(super) in_behind: bool,
}

/// The state machine of a connection. Each transition goes to a later phase.
pub(super) enum Phase {
    /// The head of its first request is being read.
    Opening(Box<Opening>),
    /// A WebSocket. Messages are executed in this phase only.
    Open(Box<Client>),
    /// The close is decided: nothing is executed, and the client is released. What is pending is
    /// sent, until a deadline.
    Closing(Closing),
    /// All is sent. The peer may say goodbye, until a deadline.
    Lingering(Instant),
}

/// How a turn of reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Nothing is left to read now, or nothing more may be read now.
    Enough,
    /// There is more to read in the next pass.
    More,
    /// The connection is to be closed.
    Close(CloseCode),
    /// The peer has ended, or the socket is broken.
    End,
}

impl Connection {
    pub(super) fn new(output: Output, phase: Phase) -> Self {
        Self {
            output,
            phase,
            reads: Vec::new(),
            alarm: None,
            readable: true,
            ended: false,
            in_readable: false,
            in_dirty: false,
            in_behind: false,
        }
    }

    /// The client, while the connection is open.
    pub(super) fn client(&mut self) -> Option<&mut Client> {
        match &mut self.phase {
            Phase::Open(client) => Some(client),
            _ => None,
        }
    }

    /// Whether this outbox is that of the connection, and the connection is open.
    pub(super) fn has_outbox(&mut self, outbox: &Arc<Outbox>) -> bool {
        self.client().is_some_and(|client| Arc::ptr_eq(client.outbox(), outbox))
    }

    /// Notes that the socket has something to read, and whether the peer sends nothing more.
    pub(super) fn set_readable(&mut self, ended: bool) {
        self.readable = true;
        self.ended |= ended;
    }

    /// Notes that all was read, except the end if it has come.
    pub(super) fn clear_readable(&mut self) {
        self.readable = self.ended;
    }

    /// Whether a turn of reading would find something to do.
    pub(super) fn wants_read(&self) -> bool {
        match &self.phase {
            Phase::Open(client) => client.may_read() && (self.readable || client.has_unread()),
            Phase::Opening(_) | Phase::Lingering(_) => self.readable,
            Phase::Closing(_) => false,
        }
    }

    /// Reads and handles what has arrived, until it is enough for one turn.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Read {
        let mut budget = READ_BUDGET;
        while self.wants_read() {
            if budget == 0 {
                return Read::More;
            }
            let Phase::Open(client) = &mut self.phase else { return Read::Enough };
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
                if self.output.transport().is_all(count, buffer.len()) {
                    self.readable = self.ended;
                }
                budget = budget.saturating_sub(count);
                client.receive(&mut buffer[..count])
            };
            match flow {
                Flow::Continue if client.outbox().is_closed() => return Read::Enough,
                Flow::Continue => {}
                Flow::Close(code) => return Read::Close(code),
            }
        }
        Read::Enough
    }

    /// Notes whether the client is not read because it leaves its replies unread.
    ///
    /// Called after each read and each flush: replies that are queued behind a full socket are
    /// announced once only. Frames of streams that wait do not count: a slow viewer may still
    /// type.
    pub(super) fn note_stall(&mut self) {
        let is_blocked = self.output.is_blocked();
        if let Some(client) = self.client() {
            let stalled = is_blocked && client.outbox().is_busy();
            client.set_stalled(stalled);
        }
    }

    /// Reads and drops what the peer still sends; returns whether it has ended.
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

    /// Does what is due for an open connection; returns when it has its next duty.
    pub(super) fn look_after(&mut self, now: Now) -> Result<Instant, CloseCode> {
        let is_blocked = self.output.is_blocked();
        let Phase::Open(client) = &mut self.phase else { return Ok(now.at) };
        let transport = self.output.transport();
        client.look_after(now, SocketState { is_blocked, has_unread: &|| transport.has_unread() })
    }

    /// Replaces its alarm if this one is sooner; returns whether it did.
    pub(super) fn set_alarm(&mut self, tick: Tick) -> bool {
        let is_sooner = self.alarm.is_none_or(|set| tick < set);
        if is_sooner {
            self.alarm = Some(tick);
        }
        is_sooner
    }

    /// Forgets its alarm: the next one counts, also if it is later.
    pub(super) fn clear_alarm(&mut self) {
        self.alarm = None;
    }

    /// Whether an alarm that rings is the one that counts; it is cleared then.
    pub(super) fn take_alarm(&mut self, tick: Tick) -> bool {
        self.alarm.take_if(|set| *set == tick).is_some()
    }

    /// Its readers: streams, and places among the streams' readers.
    pub(super) fn reads(&self) -> &[(StreamNumber, usize)] {
        &self.reads
    }

    /// The place of its reader of a stream.
    pub(super) fn place(&self, stream: StreamNumber) -> Option<usize> {
        let read = self.reads.iter().find(|(number, _)| *number == stream);
        read.map(|(_, place)| *place)
    }

    pub(super) fn add_read(&mut self, stream: StreamNumber, place: usize) {
        if self.reads.is_empty() {
            // Most connections read one stream, and there are many connections.
            self.reads.reserve_exact(1);
        }
        self.reads.push((stream, place));
    }

    pub(super) fn remove_read(&mut self, stream: StreamNumber) {
        self.reads.retain(|(number, _)| *number != stream);
    }

    /// Takes all its readers.
    pub(super) fn take_reads(&mut self) -> Vec<(StreamNumber, usize)> {
        std::mem::take(&mut self.reads)
    }

    /// Notes that its reader of a stream has another place.
    pub(super) fn move_to(&mut self, stream: StreamNumber, place: usize) {
        if let Some(read) = self.reads.iter_mut().find(|(number, _)| *number == stream) {
            read.1 = place;
        }
    }
}

impl std::fmt::Debug for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Opening(_) => "Opening",
            Self::Open(_) => "Open",
            Self::Closing(_) => "Closing",
            Self::Lingering(_) => "Lingering",
        })
    }
}
