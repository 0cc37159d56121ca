//! The end of connections: the decision, the last messages, and the end of the socket.

use std::{collections::BTreeMap, io, mem, time::Duration};

use bytes::Bytes;
use rejoin_core::{CloseNotice, OutboxItem};
use rejoin_protocol::{
    CloseCode,
    message::{ClosingNotice, ServerMessage, text},
};
use tokio::time::Instant;
use tracing::{debug, info};

use crate::{
    log,
    metrics::DropReason,
    shard::{
        Shard,
        connection::{ClosingState, Connection, LingeringState, Phase},
    },
    socket::Client,
};

/// The time within which a peer must take the pending output after a close.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
/// The same during a stop of the server.
const DRAIN_FLUSH_DEADLINE: Duration = Duration::from_secs(3);
/// The time within which a peer must close its side after the last message. The shard keeps reading
/// until then: closing a socket with unread bytes sends a TCP reset, which would destroy the last
/// messages.
const LINGER: Duration = Duration::from_secs(5);
/// The same during a stop of the server.
const DRAIN_LINGER: Duration = Duration::from_secs(1);
/// The maximum number of connections in the phase `Closing` per shard. Above it, the oldest is cut.
const MAX_CLOSING: usize = 1024;
/// The maximum total size of the pending output of these connections, in bytes. Above it, the
/// oldest are cut.
const MAX_CLOSING_BYTES: usize = 64 * 1024 * 1024;

/// The closing connections of a shard, oldest first.
#[derive(Debug, Default)]
pub(super) struct ClosingQueue {
    /// Slots and pending bytes, by number.
    entries: BTreeMap<u64, (usize, usize)>,
    /// The number of the next connection. Numbers increase in order of the closes.
    next: u64,
    /// The sum of the entries' pending bytes.
    bytes: usize,
}

impl Shard {
    /// Decides to close a connection.
    ///
    /// From then on, nothing that arrives is executed, and everything that the connection holds is
    /// released. Pending output is sent until a deadline. Does nothing unless the connection is
    /// open.
    pub(super) fn close(&mut self, slot: usize, notice: CloseNotice) {
        let Some(connection) = self.connections.get_mut(slot) else { return };

        let is_draining = notice.code == CloseCode::Draining;
        let grace = if self.draining.is_some() { DRAIN_FLUSH_DEADLINE } else { FLUSH_DEADLINE };
        let until = Instant::now() + grace;

        let number = self.closing.next_number();
        let announced = is_draining.then_some(notice);
        let closing = Box::new(ClosingState { notice: announced, until, number });
        let client = match mem::replace(&mut connection.phase, Phase::Closing(closing)) {
            Phase::Open(client) => client,
            other => return connection.phase = other,
        };

        // Replies to messages that were executed before the close are still sent.
        for item in client.outbox().take() {
            match item {
                OutboxItem::Message(message) => connection.output.push(message),
                OutboxItem::Control(frame) => connection.output.push_control(frame),
                _ => continue,
            }
            self.metrics.messages_sent.inc();
        }

        if is_draining {
            // The readers catch up with their streams first. Then `send_close_notice` follows.
            self.mark_behind(slot);
        } else {
            let (last, close) = last_messages(notice);
            connection.output.seal(last, Some(close));
            let is_slow = notice.code == CloseCode::TooSlow;
            self.end_reads(slot, if is_slow { DropReason::Slow } else { DropReason::Closed });
        }

        // Drops the client now, not after the flush: its presence, attachments and permit must not
        // depend on a peer that does not read.
        self.record_close(&client, notice.code);
        drop(client);

        self.mark_dirty(slot);
        self.set_timer(slot, until);
        self.bound_closing(slot, number);
    }

    /// Counts and logs the close of an open connection.
    fn record_close(&self, client: &Client, code: CloseCode) {
        let _span = client.span().entered();
        self.context.drain.connection_closed();
        self.metrics.closed(code);
        // From here on, replies from other tasks are dropped.
        let dropped = client.outbox().abort();
        self.metrics.frames_dropped(DropReason::Outbox, dropped as u64);

        if let Some(connection) = client.connection() {
            let (id, user) = (connection.id(), connection.user());
            let device = log::device(connection.client_info());
            let address = log::address(connection.client_info());
            let (code, reason) = (code.code(), code.row().name);
            info!(%id, %user, device, address, code, reason, "disconnected");
        } else {
            let address = log::address(client.client_info());
            let (code, reason) = (code.code(), code.row().name);
            debug!(address, code, reason, "disconnected before authentication");
        }
    }

    /// Sends the last message of a closing connection whose readers are up to date.
    pub(super) fn send_close_notice(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Phase::Closing(closing) = &mut connection.phase else { return };

        if let Some(notice) = closing.notice.take() {
            let (last, close) = last_messages(notice);
            connection.output.seal(last, Some(close));
            self.end_reads(slot, DropReason::Closed);
            self.mark_dirty(slot);
        }
    }

    /// Closes a connection whose first request was refused, once the response is sent.
    pub(super) fn close_refused(&mut self, slot: usize) {
        let until = Instant::now() + FLUSH_DEADLINE;
        let Some(connection) = self.connections.get_mut(slot) else { return };

        let number = self.closing.next_number();
        let closing = ClosingState { notice: None, until, number };
        connection.phase = Phase::Closing(Box::new(closing));
        self.mark_dirty(slot);
        self.set_timer(slot, until);
        self.bound_closing(slot, number);
    }

    /// Ends the write side after the last message, and waits for the peer to end its side.
    pub(super) fn linger(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if matches!(connection.phase, Phase::Lingering(_)) {
            return;
        }

        let grace = if self.draining.is_some() { DRAIN_LINGER } else { LINGER };
        let until = Instant::now() + grace;
        connection.output.transport().shut_down_write();
        if let Phase::Closing(closing) = &connection.phase {
            self.closing.remove(closing.number);
        }

        // The connection has nothing left to send, so it is the first to give up its descriptor.
        let place = self.context.gateway.lingering.acquire();
        place.set_owner(self.handle.slot_owner(), slot);
        let lingering = LingeringState { until, place: Some(place) };
        connection.phase = Phase::Lingering(Box::new(lingering));

        // The deadline of the flush no longer counts, even if it is earlier than the new one.
        connection.clear_timer();
        connection.set_readable(false);
        self.set_timer(slot, until);
        self.mark_readable(slot);
    }

    /// Shortens the deadline of a connection that was closed before the stop began.
    pub(super) fn shorten_deadline(&mut self, slot: usize) {
        let now = Instant::now();
        let Some(connection) = self.connections.get_mut(slot) else { return };

        let until = match &mut connection.phase {
            Phase::Closing(closing) => {
                closing.until = closing.until.min(now + DRAIN_FLUSH_DEADLINE);
                closing.until
            }
            Phase::Lingering(lingering) => {
                lingering.until = lingering.until.min(now + DRAIN_LINGER);
                lingering.until
            }
            // The drain itself sets their deadlines.
            Phase::Opening(_) | Phase::Open(_) => return,
        };

        self.set_timer(slot, until);
    }

    /// Removes a connection whose deadline has passed, even if output is pending.
    pub(super) fn cut(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get(slot)
            && matches!(connection.phase, Phase::Closing(_))
        {
            debug!("cut a socket: the peer did not read its last messages in time");
            self.metrics.sockets_cut.inc();
        }

        self.remove(slot);
    }

    /// Removes a connection whose socket is broken.
    pub(super) fn fail(&mut self, slot: usize, error: &io::Error) {
        debug!(%error, "a socket failed");
        // Releases and counts an open connection before it is removed.
        self.close(slot, CloseCode::Normal.into());
        self.remove(slot);
    }

    /// Removes the connection in a slot, if there is one, and closes its socket.
    pub(super) fn remove(&mut self, slot: usize) {
        if self.connections.contains(slot) {
            drop(self.take_out(slot));
        }
    }

    /// Removes and returns a connection, without its readers. The socket stays open.
    pub(super) fn take_out(&mut self, slot: usize) -> Connection {
        let mut connection = self.connections.remove(slot);
        if let Phase::Closing(closing) = &connection.phase {
            self.closing.remove(closing.number);
        }

        for (stream, index) in connection.take_reads() {
            self.remove_reader_at(stream, index, DropReason::Closed);
        }
        self.handle.remove_load();
        connection
    }

    /// Adds a closing connection to the queue, and cuts the oldest above the bounds.
    fn bound_closing(&mut self, slot: usize, number: u64) {
        let bytes = self.connections[slot].output.pending_bytes();
        self.closing.insert(number, slot, bytes);

        while let Some(slot) = self.closing.pop_excess() {
            self.cut(slot);
        }
    }
}

impl ClosingQueue {
    fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn insert(&mut self, number: u64, slot: usize, bytes: usize) {
        self.entries.insert(number, (slot, bytes));
        self.bytes += bytes;
    }

    /// Removes a connection that is no longer closing, if it is still in the queue.
    fn remove(&mut self, number: u64) {
        if let Some((_, bytes)) = self.entries.remove(&number) {
            self.bytes -= bytes;
        }
    }

    /// Removes the oldest entry if the queue exceeds its bounds. Returns its slot.
    fn pop_excess(&mut self) -> Option<usize> {
        let is_excess = self.entries.len() > MAX_CLOSING || self.bytes > MAX_CLOSING_BYTES;
        // The newest one stays, however many bytes it has pending.
        let has_older = self.entries.len() > 1;
        let (_, (slot, bytes)) =
            if is_excess && has_older { self.entries.pop_first() } else { None }?;
        self.bytes -= bytes;
        Some(slot)
    }
}

/// Returns the last messages of a connection: the `closing` message and the close frame.
fn last_messages(notice: CloseNotice) -> (Option<Bytes>, Bytes) {
    let CloseNotice { code, reconnect_after, window } = notice;

    // Codes below 4000 belong to the WebSocket protocol: the peer violated it or closed first.
    let is_announced = code.code() >= 4000;
    let closing = is_announced.then(|| {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let closing = ClosingNotice::new(code, ms(reconnect_after), ms(window));
        let closing = text(None, &ServerMessage::Closing(closing));
        rejoin_websocket::encode(rejoin_websocket::MessageKind::Text, &[closing.as_bytes()])
    });

    (closing, rejoin_websocket::close(code.code(), code.row().name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_closing_connections_are_cut_above_the_bounds() {
        let mut queue = ClosingQueue::default();
        let insert = |queue: &mut ClosingQueue, slot, bytes| {
            let number = queue.next_number();
            queue.insert(number, slot, bytes);
            number
        };

        let numbers: Vec<_> = (0..MAX_CLOSING).map(|slot| insert(&mut queue, slot, 1)).collect();
        assert_eq!(queue.pop_excess(), None);

        insert(&mut queue, 7000, 1);
        assert_eq!((queue.pop_excess(), queue.pop_excess()), (Some(0), None));

        // A connection that has closed leaves its place to another one.
        queue.remove(numbers[1]);
        insert(&mut queue, 7001, 1);
        assert_eq!(queue.pop_excess(), None);

        insert(&mut queue, 7002, 2 * MAX_CLOSING_BYTES);
        let cut = std::iter::from_fn(|| queue.pop_excess()).count();
        assert_eq!((cut, queue.entries.len()), (MAX_CLOSING, 1));
    }
}
