//! New connections: the first request, the upgrade to a WebSocket, and evictions.

use std::{io::ErrorKind, sync::Arc};

use mio::{Token, net::TcpStream};
use rejoin_core::{FrameEncoding, Outbox};
use rejoin_protocol::CloseCode;
use tokio::time::Instant;
use tracing::{debug, error};

use crate::{
    accept::{Accept, FirstRequest, Opening},
    peer::Peer,
    pending::PendingSlot,
    shard::{
        Shard, UpgradedSocket,
        connection::{Connection, LingeringState, Phase},
        output::Output,
    },
    socket::{Accepted, Client, Flow, Jobs, RawAttach},
    transport::Transport,
};

/// The number of connections for which a shard reserves memory at first.
const FIRST_CAPACITY: usize = 64;

impl Shard {
    /// Takes ownership of a plain socket whose first request has not arrived.
    pub(super) fn open(&mut self, socket: TcpStream, pending: PendingSlot, peer: Peer) {
        // The drain visits each slot once, and may have passed this one already.
        if self.draining.is_some() {
            return self.handle.remove_load();
        }

        let timeout = self.context.gateway.config.header_timeout;
        let opening = Box::new(Opening::new(pending, peer, timeout));
        let deadline = opening.deadline();
        let output = Output::new(Transport::Plain(socket), FrameEncoding::Plain);
        let Some(slot) = self.insert(output, Phase::Opening(opening)) else { return };

        if let Phase::Opening(opening) = &self.connections[slot].phase {
            opening.slot().set_owner(self.handle.slot_owner(), slot);
        }
        self.set_timer(slot, deadline);
        self.mark_readable(slot);
    }

    /// Takes ownership of a socket that was upgraded on the general runtime.
    pub(super) fn adopt(&mut self, socket: UpgradedSocket) {
        let UpgradedSocket { transport, first_bytes, accepted, raw } = socket;
        self.handle.add_load();
        let output = Output::new(transport, accepted.encoding);
        // A placeholder, because `upgrade` sets the phase.
        let lingering = LingeringState { until: Instant::now(), place: None };
        let phase = Phase::Lingering(Box::new(lingering));
        let Some(slot) = self.insert(output, phase) else { return };

        self.upgrade(slot, accepted, raw, first_bytes.to_vec());
    }

    fn insert(&mut self, output: Output, phase: Phase) -> Option<usize> {
        let count = self.connections.len();
        if count == self.connections.capacity() {
            // Grows by a quarter, because doubling would leave up to half of the memory unused.
            self.connections.reserve_exact((count / 4).max(FIRST_CAPACITY));
        }

        let slot = self.connections.insert(Connection::new(output, phase));
        let transport = self.connections[slot].output.transport();
        if let Err(error) = transport.register(self.poll.registry(), Token(slot)) {
            error!(%error, "cannot poll a socket; it is closed");
            self.connections.remove(slot);
            self.handle.remove_load();
            return None;
        }

        Some(slot)
    }

    /// Turns a connection into a WebSocket, and handles the bytes that followed the request.
    fn upgrade(
        &mut self,
        slot: usize,
        accepted: Accepted,
        raw: Option<RawAttach>,
        mut first_bytes: Vec<u8>,
    ) {
        let Accepted { auth, handshake, admission, encoding, .. } = accepted;
        let outbox = Arc::new(Outbox::new(self.handle.wake(), slot));
        let jobs = Jobs::new(self.handle.job_listener());
        let gateway = Arc::clone(&self.context.gateway);
        let mut client = Client::new(gateway, outbox, jobs, handshake, admission);
        if encoding == FrameEncoding::Compressed {
            client.enable_deflate();
        }
        if let Some(pending) = client.pending_slot() {
            pending.set_owner(self.handle.slot_owner(), slot);
        }

        self.context.drain.connection_opened();
        let connection = &mut self.connections[slot];
        connection.output.set_encoding(encoding);
        connection.phase = Phase::Open(Box::new(client));

        self.with_client(slot, |client| {
            let mut flow = client.open(auth);
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

        // The drain may have passed this slot already.
        if self.draining.is_some() {
            let notice = self.context.drain.next_notice();
            self.close(slot, notice);
        }

        // An eviction before `set_owner` found no owner to notify.
        self.evict(slot);
        self.mark_readable(slot);
        self.check_deadlines_now(slot);
    }

    /// Reads the first request of a connection and acts on it.
    pub(super) fn read_opening(&mut self, slot: usize) {
        let Some(accept) = self.context.accept.get().map(Arc::clone) else { return };

        while let Some(connection) = self.connections.get_mut(slot) {
            if !connection.wants_read() {
                return;
            }

            let count = match connection.output.transport().receive(&mut self.buffer) {
                Ok(0) => return self.remove(slot),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return connection.clear_readable();
                }
                Err(_) => return self.remove(slot),
            };

            // The poll is edge-triggered: the socket counts as readable until a read drains it.
            if connection.output.transport().has_drained(count, self.buffer.len()) {
                connection.clear_readable();
            }

            let Phase::Opening(opening) = &mut connection.phase else { return };

            match opening.receive(&self.buffer[..count], &accept) {
                FirstRequest::Incomplete => {}
                FirstRequest::Http => return self.hand_to_http(slot, &accept),
                FirstRequest::Accepted { response, accepted, first_bytes } => {
                    connection.output.push(response);
                    return self.upgrade(slot, *accepted, None, first_bytes);
                }
                FirstRequest::Refused { response } => {
                    connection.output.push(response);
                    connection.output.seal(None, None);
                    return self.close_refused(slot);
                }
            }
        }
    }

    /// Hands a connection and the bytes already read from it to the HTTP server.
    fn hand_to_http(&mut self, slot: usize, accept: &Arc<Accept>) {
        let mut connection = self.take_out(slot);
        let Phase::Opening(opening) = connection.phase else { return };

        // The general runtime registers the socket with its own poll.
        let _ = connection.output.transport().deregister(self.poll.registry());
        if let Some(socket) = connection.output.into_transport().into_plain() {
            accept.serve_http(socket, *opening);
        }
    }

    /// Closes the connection in a slot if its pending or lingering slot was evicted.
    ///
    /// Checks the flag instead of trusting the command: another connection may use the slot by now,
    /// or this one may have authenticated.
    pub(super) fn evict(&mut self, slot: usize) {
        let Some(connection) = self.connections.get(slot) else { return };

        let pending = match &connection.phase {
            Phase::Opening(opening) => Some(opening.slot()),
            Phase::Open(client) => client.pending_slot(),
            Phase::Lingering(lingering) => lingering.place.as_ref(),
            Phase::Closing(_) => None,
        };

        if !pending.is_some_and(PendingSlot::is_evicted) {
            return;
        }

        debug!("evicted a pending connection");
        // An open WebSocket receives the reason. Other sockets do not expect a message.
        if matches!(connection.phase, Phase::Open(_)) {
            self.close(slot, CloseCode::Overloaded.into());
        } else {
            self.remove(slot);
        }
    }
}
