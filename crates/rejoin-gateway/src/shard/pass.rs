//! The steps of a pass for one connection: read, take replies, flush, and what is due.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use mio::{Token, net::TcpStream};
use rejoin_core::{DropReason, FrameEncoding, Outbox, OutboxItem};
use rejoin_protocol::CloseCode;
use tokio::time::Instant;
use tracing::{debug, error};

use crate::{
    accept::{Accept, Opening, Outcome, PendingSlot},
    peer::Peer,
    shard::{
        Arrival,
        connection::{Connection, Phase, Read},
        keepalive::Now,
        output::Output,
        run::Shard,
    },
    socket::{Accepted, Client, Done, Flow, Jobs, RawAttach},
    transport::Transport,
};

/// Places for connections that a shard makes first.
const FIRST_PLACES: usize = 64;

impl Shard {
    /// Owns a socket whose first request has not arrived.
    pub(super) fn open(&mut self, socket: TcpStream, pending: PendingSlot, peer: Peer) {
        if self.draining.is_some() {
            return self.handle.remove_load();
        }
        let timeout = self.context.gateway.config.header_timeout;
        let opening = Box::new(Opening::new(pending, peer, timeout));
        let deadline = opening.deadline();
        let output = Output::new(Transport::Plain(socket), FrameEncoding::Plain);
        let Some(slot) = self.insert(output, Phase::Opening(opening)) else { return };
        if let Phase::Opening(opening) = &self.connections[slot].phase {
            opening.slot().notify_shard(&self.handle, slot);
        }
        self.set_alarm(slot, deadline);
        self.mark_readable(slot);
    }

    /// Owns a socket that HTTP has upgraded.
    pub(super) fn adopt(&mut self, arrival: Arrival) {
        let Arrival { transport, first_bytes, accepted, raw } = arrival;
        self.handle.add_load();
        let output = Output::new(transport, accepted.form);
        let phase = Phase::Lingering(Instant::now());
        let Some(slot) = self.insert(output, phase) else { return };
        self.upgrade(slot, accepted, raw, first_bytes.to_vec());
    }

    fn insert(&mut self, output: Output, phase: Phase) -> Option<usize> {
        let count = self.connections.len();
        if count == self.connections.capacity() {
            // By a quarter: to double would leave half of the places unused.
            self.connections.reserve_exact((count / 4).max(FIRST_PLACES));
        }
        let slot = self.connections.insert(Connection::new(output, phase));
        let transport = self.connections[slot].output.transport();
        if let Err(error) = transport.register(self.poll.registry(), Token(slot)) {
            error!(%error, "a socket cannot be watched");
            self.connections.remove(slot);
            self.handle.remove_load();
            return None;
        }
        Some(slot)
    }

    /// Makes a connection a WebSocket, and handles what came with its request.
    fn upgrade(
        &mut self,
        slot: usize,
        accepted: Accepted,
        raw: Option<RawAttach>,
        mut first_bytes: Vec<u8>,
    ) {
        let Accepted { opener, handshake, room, form, .. } = accepted;
        let outbox = Arc::new(Outbox::new(self.handle.wake(), slot));
        let jobs = Jobs::new(self.handle.clone());
        let gateway = Arc::clone(&self.context.gateway);
        let mut client = Client::new(gateway, outbox, jobs, handshake, room);
        if form == FrameEncoding::Compressed {
            client.inflate();
        }
        if let Some(pending) = client.pending_slot() {
            pending.notify_shard(&self.handle, slot);
        }
        self.context.drain.arrive();
        let connection = &mut self.connections[slot];
        connection.output.set_form(form);
        connection.phase = Phase::Open(Box::new(client));

        self.with_client(slot, |client| {
            let mut flow = client.open(opener);
            if let Some(raw) = raw
                && flow == Flow::Continue
            {
                flow = client.attach_raw(raw);
            }
            if !first_bytes.is_empty() && flow == Flow::Continue {
                flow = client.receive(&mut first_bytes);
            }
            flow
        });
        if self.draining.is_some() {
            let goodbye = self.context.drain.goodbye();
            self.close(slot, goodbye);
        }
        // It may have been evicted before its slot could say so.
        self.evict(slot);
        self.mark_readable(slot);
        self.look_after_now(slot);
    }

    /// Reads from a connection, as far as its turn goes.
    pub(super) fn read(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.in_readable = false;
        match &connection.phase {
            Phase::Open(_) => self.read_open(slot),
            Phase::Opening(_) => self.read_opening(slot),
            Phase::Lingering(_) => {
                if connection.discard(&mut self.buffer) {
                    self.remove(slot);
                } else {
                    self.mark_readable(slot);
                }
            }
            Phase::Closing(_) => {}
        }
    }

    fn read_open(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(client) = connection.client() else { return };
        let (was_pending, span) = (client.connection().is_none(), client.span());
        // A panic ends its connection only, as in `with_client`.
        let buffer = &mut self.buffer;
        let read = catch_unwind(AssertUnwindSafe(|| span.in_scope(|| connection.read(buffer))));
        match read {
            Ok(Read::Enough) => {}
            Ok(Read::More) => self.mark_readable(slot),
            Ok(Read::Close(code)) => self.close(slot, code.into()),
            Ok(Read::End) => self.close(slot, CloseCode::Normal.into()),
            Err(_) => {
                error!("a connection is closed because handling a message panicked");
                self.close(slot, CloseCode::Internal.into());
            }
        }
        // Its alarm is now that of an authenticated connection, or of an unfinished message.
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.note_stall();
        let Some(client) = connection.client() else { return };
        if client.take_new_deadline() || (was_pending && client.connection().is_some()) {
            self.look_after_now(slot);
        }
    }

    fn read_opening(&mut self, slot: usize) {
        let Some(accept) = self.context.accept.get().map(Arc::clone) else { return };
        while let Some(connection) = self.connections.get_mut(slot) {
            if !connection.wants_read() {
                return;
            }
            let count = match connection.output.transport().receive(&mut self.buffer) {
                Ok(0) => return self.remove(slot),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return connection.clear_readable();
                }
                Err(_) => return self.remove(slot),
            };
            if connection.output.transport().is_all(count, self.buffer.len()) {
                connection.clear_readable();
            }
            let Phase::Opening(opening) = &mut connection.phase else { return };
            match opening.receive(&self.buffer[..count], &accept) {
                Outcome::Incomplete => {}
                Outcome::Http => return self.hand_to_http(slot, &accept),
                Outcome::Accepted { answer, accepted, first_bytes } => {
                    connection.output.push(answer);
                    return self.upgrade(slot, *accepted, None, first_bytes);
                }
                Outcome::Refused { answer } => {
                    connection.output.push(answer);
                    connection.output.seal(None, None);
                    return self.finish_closing(slot);
                }
            }
        }
    }

    fn hand_to_http(&mut self, slot: usize, accept: &Arc<Accept>) {
        let mut connection = self.take_out(slot);
        let Phase::Opening(opening) = connection.phase else { return };
        let _ = connection.output.transport().deregister(self.poll.registry());
        if let Some(socket) = connection.output.into_transport().into_plain() {
            accept.serve_http(socket, *opening);
        }
    }

    /// Takes what waits in a connection's outbox, unless its socket takes nothing.
    pub(super) fn take_outbox(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let is_blocked = connection.output.is_blocked();
        let Some(client) = connection.client() else { return };
        let outbox = Arc::clone(client.outbox());
        if outbox.is_closed() {
            let code = outbox.close_code().and_then(CloseCode::from_code);
            return self.close(slot, code.unwrap_or(CloseCode::Normal).into());
        }
        if is_blocked {
            if outbox.is_eviction_pending() {
                self.close(slot, CloseCode::TooSlow.into());
            }
            return;
        }
        for item in outbox.take() {
            match item {
                OutboxItem::Message(message) => {
                    self.metrics.messages_sent.inc();
                    self.connections[slot].output.push(message);
                }
                OutboxItem::Control(frame) => {
                    self.metrics.messages_sent.inc();
                    self.connections[slot].output.push_control(frame);
                }
                OutboxItem::StartReading { stream, preamble, reader } => {
                    if !preamble.is_empty() {
                        self.metrics.snapshots_sent.inc();
                    }
                    self.connections[slot].output.push_frames(&preamble);
                    self.add_reader(slot, &stream, reader);
                }
                OutboxItem::StopReading(stream) => {
                    self.remove_reader(slot, stream, DropReason::Closed)
                }
                // Pushed since the look above.
                OutboxItem::Close(goodbye) => return self.close(slot, goodbye),
            }
        }
    }

    /// Sends what is pending; then the connection may read on, or is done.
    pub(super) fn flush(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.in_dirty = false;
        if matches!(connection.phase, Phase::Opening(_)) {
            return;
        }
        match connection.output.flush(&mut self.scratch) {
            Ok(count) => self.metrics.bytes_sent.inc_by(count as u64),
            Err(error) => return self.fail(slot, &error),
        };
        if connection.output.is_empty() && connection.output.is_sealed() {
            return self.linger(slot);
        }
        if connection.output.is_empty()
            && !connection.reads().is_empty()
            && connection.output.has_late()
        {
            self.mark_behind(slot);
        }
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.note_stall();
        let is_blocked = connection.output.is_blocked();
        let Some(client) = connection.client() else { return };
        let is_new = client.take_new_deadline();
        if !is_blocked && !client.outbox().is_empty() {
            self.mark_dirty(slot);
        }
        self.mark_readable(slot);
        if is_new {
            self.look_after_now(slot);
        }
    }

    /// Goes on with a connection whose job has ended.
    pub(super) fn finish_job(&mut self, outbox: &Arc<Outbox>, done: Done) {
        let slot = outbox.slot();
        // Another connection may have the slot by now; the result is dropped then.
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !connection.has_outbox(outbox) {
            return;
        }
        self.with_client(slot, |client| client.finish(done));
        self.mark_readable(slot);
        self.look_after_now(slot);
    }

    /// Calls a client, and closes its connection if that is what follows.
    ///
    /// A panic ends its connection only. The client is dropped as it is; of others it has handles.
    fn with_client(&mut self, slot: usize, call: impl FnOnce(&mut Client) -> Flow) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(client) = connection.client() else { return };
        let span = client.span();
        let flow = catch_unwind(AssertUnwindSafe(|| span.in_scope(|| call(client))));
        self.mark_dirty(slot);
        match flow {
            Ok(Flow::Continue) => {}
            Ok(Flow::Close(code)) => self.close(slot, code.into()),
            Err(_) => {
                error!("a connection is closed because handling it panicked");
                self.close(slot, CloseCode::Internal.into());
            }
        }
    }

    fn look_after_now(&mut self, slot: usize) {
        self.look_after(slot, Now { at: Instant::now(), day: rejoin_core::now_ms() });
    }

    /// Does what is due for a connection, and sets its alarm.
    pub(super) fn look_after(&mut self, slot: usize, now: Now) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let next = match &connection.phase {
            Phase::Opening(opening) => opening.deadline(),
            Phase::Open(_) => match connection.look_after(now) {
                Ok(next) => {
                    self.mark_readable(slot);
                    next
                }
                Err(code) => return self.close(slot, code.into()),
            },
            Phase::Closing(closing) => closing.until(),
            Phase::Lingering(until) => *until,
        };
        if next <= now.at && !matches!(self.connections[slot].phase, Phase::Open(_)) {
            return self.cut(slot);
        }
        self.set_alarm(slot, next);
    }

    /// Closes a connection that has to make room.
    pub(super) fn evict(&mut self, slot: usize) {
        let Some(connection) = self.connections.get(slot) else { return };
        let pending = match &connection.phase {
            Phase::Opening(opening) => Some(opening.slot()),
            Phase::Open(client) => client.pending_slot(),
            Phase::Closing(_) | Phase::Lingering(_) => None,
        };
        if !pending.is_some_and(PendingSlot::is_evicted) {
            return;
        }
        debug!("a pending connection is evicted");
        if matches!(connection.phase, Phase::Opening(_)) {
            self.remove(slot);
        } else {
            self.close(slot, CloseCode::Overloaded.into());
        }
    }

    /// Takes a connection out, with its readers.
    pub(super) fn take_out(&mut self, slot: usize) -> Connection {
        let mut connection = self.connections.remove(slot);
        for (stream, place) in mem::take(&mut connection.take_reads()) {
            self.remove_entry(stream, place, DropReason::Closed);
        }
        self.handle.remove_load();
        connection
    }
}
