//! The end of connections: the decision, the last messages, and the socket's end.

use std::{collections::VecDeque, io, mem, time::Duration};

use bytes::Bytes;
use rejoin_core::{CloseNotice, DropReason, OutboxItem};
use rejoin_protocol::{
    CloseCode,
    message::{ClosingNotice, ServerMessage, text},
};
use tokio::time::Instant;
use tracing::{debug, info};

use crate::{
    log,
    shard::{connection::Phase, run::Shard},
    socket::Client,
};

/// How long a peer may take to accept what is pending at a close.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
/// The same while the server stops.
const DRAIN_FLUSH_DEADLINE: Duration = Duration::from_secs(3);
/// How long a peer may take to close its side after that. Reading on lets the last messages
/// arrive: a close with unread bytes would reset the line.
const LINGER: Duration = Duration::from_secs(5);
/// The same while the server stops.
const DRAIN_LINGER: Duration = Duration::from_secs(1);
/// Connections of a shard that may be closing at one time; for one more, the oldest is cut.
const MAX_CLOSING: usize = 1024;
/// Bytes that may be pending for them together; above it, the oldest are cut.
const MAX_CLOSING_BYTES: usize = 64 * 1024 * 1024;

/// A connection between the decision to close and its last message.
#[derive(Debug)]
pub(super) struct Closing {
    /// The last message, once the readers have read what their streams held.
    goodbye: Option<CloseNotice>,
    until: Instant,
}

/// Closing connections of a shard, the oldest first: slots, deadlines, pending bytes.
#[derive(Debug, Default)]
pub(super) struct ClosingQueue {
    entries: VecDeque<(usize, Instant, usize)>,
    bytes: usize,
}

impl Closing {
    /// When the socket is cut.
    pub(super) fn until(&self) -> Instant {
        self.until
    }
}

impl Shard {
    /// Decides to close a connection: nothing that arrives is executed any more, and what it
    /// holds is released. What is pending is sent, until a deadline.
    pub(super) fn close(&mut self, slot: usize, goodbye: CloseNotice) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let is_draining = goodbye.code == CloseCode::Draining;
        let grace = if self.draining.is_some() { DRAIN_FLUSH_DEADLINE } else { FLUSH_DEADLINE };
        let until = Instant::now() + grace;
        let closing = Closing { goodbye: is_draining.then_some(goodbye), until };
        let client = match mem::replace(&mut connection.phase, Phase::Closing(closing)) {
            Phase::Open(client) => client,
            other => return connection.phase = other,
        };

        // Replies to messages that were executed before.
        for item in client.outbox().take() {
            match item {
                OutboxItem::Message(message) => connection.output.push(message),
                OutboxItem::Control(frame) => connection.output.push_control(frame),
                _ => continue,
            }
            self.metrics.messages_sent.inc();
        }
        if is_draining {
            // It gets what its streams hold now, and then the goodbye.
            self.mark_behind(slot);
        } else {
            let (last, close) = last_messages(goodbye);
            connection.output.seal(last, Some(close));
            let slow = goodbye.code == CloseCode::TooSlow;
            self.end_reads(slot, if slow { DropReason::Slow } else { DropReason::Closed });
        }
        self.note_release(&client, goodbye.code);
        drop(client);
        self.mark_dirty(slot);
        self.set_alarm(slot, until);
        self.bound_closing(slot, until);
    }

    /// Counts and logs the end of an open connection.
    fn note_release(&self, client: &Client, code: CloseCode) {
        let _span = client.span().entered();
        self.context.drain.leave();
        self.metrics.closed(code);
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
            debug!(address, code, reason, "disconnected before it was authenticated");
        }
    }

    /// Sends the goodbye of a connection whose readers are up to date.
    pub(super) fn say_goodbye(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Phase::Closing(closing) = &mut connection.phase else { return };
        if let Some(goodbye) = closing.goodbye.take() {
            let (last, close) = last_messages(goodbye);
            connection.output.seal(last, Some(close));
            self.end_reads(slot, DropReason::Closed);
            self.mark_dirty(slot);
        }
    }

    /// Closes a connection after an answer to its first request.
    pub(super) fn finish_closing(&mut self, slot: usize) {
        let until = Instant::now() + FLUSH_DEADLINE;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.phase = Phase::Closing(Closing { goodbye: None, until });
        self.mark_dirty(slot);
        self.set_alarm(slot, until);
        self.bound_closing(slot, until);
    }

    /// All is sent: ends the write side, and waits for the peer's end.
    pub(super) fn linger(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if matches!(connection.phase, Phase::Lingering(_)) {
            return;
        }
        let grace = if self.draining.is_some() { DRAIN_LINGER } else { LINGER };
        let until = Instant::now() + grace;
        connection.output.transport().finish();
        connection.phase = Phase::Lingering(until);
        connection.clear_alarm();
        connection.set_readable(false);
        self.set_alarm(slot, until);
        self.mark_readable(slot);
    }

    /// Shortens the deadline of a connection that was closed before the server stops.
    pub(super) fn hurry(&mut self, slot: usize) {
        let now = Instant::now();
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let until = match &mut connection.phase {
            Phase::Closing(closing) => {
                closing.until = closing.until.min(now + DRAIN_FLUSH_DEADLINE);
                closing.until
            }
            Phase::Lingering(until) => {
                *until = (*until).min(now + DRAIN_LINGER);
                *until
            }
            Phase::Opening(_) | Phase::Open(_) => return,
        };
        self.set_alarm(slot, until);
    }

    /// A deadline has passed: removes the connection, whatever the peer does.
    pub(super) fn cut(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get(slot)
            && matches!(connection.phase, Phase::Closing(_))
        {
            debug!("a peer did not take its last messages");
            self.metrics.sockets_cut.inc();
        }
        self.remove(slot);
    }

    /// A socket is broken.
    pub(super) fn fail(&mut self, slot: usize, error: &io::Error) {
        debug!(%error, "a socket failed");
        self.close(slot, CloseCode::Normal.into());
        self.remove(slot);
    }

    /// Forgets a connection and closes its socket.
    pub(super) fn remove(&mut self, slot: usize) {
        if self.connections.contains(slot) {
            drop(self.take_out(slot));
        }
    }

    /// Cuts the oldest closing connections while there are too many.
    fn bound_closing(&mut self, slot: usize, until: Instant) {
        let bytes = self.connections[slot].output.pending_bytes();
        self.closing.push(slot, until, bytes);
        while let Some((slot, until)) = self.closing.pop_excess() {
            let Some(connection) = self.connections.get(slot) else { continue };
            if matches!(&connection.phase, Phase::Closing(closing) if closing.until == until) {
                self.cut(slot);
            }
        }
    }
}

impl ClosingQueue {
    fn push(&mut self, slot: usize, until: Instant, bytes: usize) {
        // Those whose deadlines have passed are gone by now.
        let now = Instant::now();
        while self.entries.front().is_some_and(|(_, until, _)| *until < now) {
            self.pop();
        }
        self.entries.push_back((slot, until, bytes));
        self.bytes += bytes;
    }

    fn pop_excess(&mut self) -> Option<(usize, Instant)> {
        let is_excess = self.entries.len() > MAX_CLOSING || self.bytes > MAX_CLOSING_BYTES;
        // The newest stays, however large it is.
        (is_excess && self.entries.len() > 1).then(|| self.pop()).flatten()
    }

    fn pop(&mut self) -> Option<(usize, Instant)> {
        let (slot, until, bytes) = self.entries.pop_front()?;
        self.bytes -= bytes;
        Some((slot, until))
    }
}

/// The last messages of a connection.
fn last_messages(goodbye: CloseNotice) -> (Option<Bytes>, Bytes) {
    let CloseNotice { code, reconnect_after, window } = goodbye;
    // Codes below 4000 are the WebSocket's own: the peer broke it, or said goodbye itself.
    let announced = code.code() >= 4000;
    let closing = announced.then(|| {
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
        let until = Instant::now() + FLUSH_DEADLINE;
        let mut queue = ClosingQueue::default();
        for slot in 0..MAX_CLOSING {
            queue.push(slot, until, 1);
            assert_eq!(queue.pop_excess(), None);
        }
        queue.push(7000, until, 1);
        assert_eq!(queue.pop_excess(), Some((0, until)));
        assert_eq!(queue.pop_excess(), None);
        queue.push(7001, until, 2 * MAX_CLOSING_BYTES);
        let cut = std::iter::from_fn(|| queue.pop_excess()).count();
        assert_eq!((cut, queue.entries.len()), (MAX_CLOSING, 1));
    }
}
