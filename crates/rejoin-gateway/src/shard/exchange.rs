//! The steps of a pass for one connection: read, take the outbox, flush, check deadlines.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use rejoin_core::{Frame, Outbox, OutboxItem, now_ms};
use rejoin_protocol::CloseCode;
use tokio::time::Instant;
use tracing::error;

use crate::{
    metrics::DropReason,
    shard::{
        Shard,
        connection::{Phase, Read},
        window::SendWindow,
    },
    socket::{Client, Flow, JobResult, Now},
};

impl Shard {
    /// Reads from a connection, within its budget for one pass.
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

    /// Reads and executes messages of an open connection.
    fn read_open(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(client) = connection.client() else { return };

        let (was_pending, span) = (client.connection().is_none(), client.span());

        // A panic closes only this connection, as in `with_client`.
        let buffer = &mut self.buffer;
        let read = catch_unwind(AssertUnwindSafe(|| span.in_scope(|| connection.read(buffer))));
        match read {
            Ok(Read::Enough) => {}
            Ok(Read::More) => self.mark_readable(slot),
            Ok(Read::Close(code)) => self.close(slot, code.into()),
            Ok(Read::End) => self.close(slot, CloseCode::Normal.into()),
            Err(_) => {
                error!("a connection is closed because a message handler panicked");
                self.close(slot, CloseCode::Internal.into());
            }
        }

        let Some(connection) = self.connections.get_mut(slot) else { return };

        connection.update_stall();

        // The read may have added a deadline that is earlier than the timer: the keepalive of a
        // connection that has just authenticated, or the end of an unfinished message.
        let Some(client) = connection.client() else { return };

        let has_new_deadline = client.take_new_deadline();
        let is_new = was_pending && client.connection().is_some();

        for (stream, parsed) in client.take_parsed() {
            self.acknowledge(slot, stream, parsed);
        }

        if has_new_deadline || is_new {
            self.check_deadlines_now(slot);
        }
    }

    /// Executes the items of a connection's outbox, unless its socket is blocked.
    ///
    /// Then closes the connection if it holds an evicted snapshot.
    pub(super) fn take_outbox(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(client) = connection.client() else { return };

        let evicted = client.outbox().take_evicted();
        self.execute_outbox(slot);
        if !evicted.is_empty() {
            self.evict_snapshot(slot, &evicted);
        }
    }

    /// Closes a connection whose socket does not immediately take the rest of an old snapshot.
    fn evict_snapshot(&mut self, slot: usize, snapshot: &[Frame]) {
        self.flush(slot);
        let Some(connection) = self.connections.get_mut(slot) else { return };

        let is_pending = connection.output.holds(snapshot);
        let Some(client) = connection.client() else { return };

        if is_pending || client.outbox().holds(snapshot) {
            self.close(slot, CloseCode::TooSlow.into());
        }
    }

    fn execute_outbox(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };

        let is_blocked = connection.output.is_blocked();
        let Some(client) = connection.client() else { return };

        let outbox = Arc::clone(client.outbox());

        // A close must not depend on the peer, so it takes effect even if the socket is blocked.
        if outbox.is_closed() {
            let code = outbox.close_code().and_then(CloseCode::from_code);
            return self.close(slot, code.unwrap_or(CloseCode::Normal).into());
        }

        // Items behind a blocked socket stay in the outbox, which is bounded.
        if is_blocked {
            return;
        }

        // The order matters: a reader must start after its `ack`, and end before the next one.
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
                OutboxItem::StartReading { stream, preamble, reader, window } => {
                    if !preamble.is_empty() {
                        self.metrics.snapshots_sent.inc();
                    }
                    self.connections[slot].output.push_frames(&preamble);
                    let window = SendWindow::new(window, &preamble);
                    self.add_reader(slot, &stream, reader, window);
                }
                OutboxItem::StopReading(stream) => {
                    self.remove_reader(slot, stream, DropReason::Closed);
                }
                // It was pushed after the check of `is_closed` above.
                OutboxItem::Close(notice) => return self.close(slot, notice),
            }
        }
    }

    /// Writes the pending output to the socket, and schedules the steps that this enables.
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

        // The socket was blocked and has now taken everything, so its readers can catch up.
        let may_catch_up = connection.output.is_empty() && connection.output.was_blocked();
        if may_catch_up && !connection.reads().is_empty() {
            self.mark_behind(slot);
        }

        let Some(connection) = self.connections.get_mut(slot) else { return };

        connection.update_stall();
        let is_blocked = connection.output.is_blocked();
        let Some(client) = connection.client() else { return };

        let has_new_deadline = client.take_new_deadline();

        // Items pushed while the socket was blocked do not notify the shard again.
        if !is_blocked && !client.outbox().is_empty() {
            self.mark_dirty(slot);
        }

        // Reading may have been paused until the peer took its replies.
        self.mark_readable(slot);
        if has_new_deadline {
            self.check_deadlines_now(slot);
        }
    }

    /// Passes the result of a job to its client.
    pub(super) fn finish_job(&mut self, outbox: &Arc<Outbox>, result: JobResult) {
        let slot = outbox.slot();
        let Some(connection) = self.connections.get_mut(slot) else { return };

        // Another connection may use the slot by now. Dropping the result then releases an
        // attachment.
        if !connection.has_outbox(outbox) {
            return;
        }

        self.with_client(slot, |client| client.finish_job(result));
        self.mark_readable(slot);
        self.check_deadlines_now(slot);
    }

    /// Calls a client, and closes its connection if the call returns a code or panics.
    ///
    /// A panic closes only this connection. It may leave the client inconsistent, but the client is
    /// dropped at once and shares only handles with others.
    pub(super) fn with_client(&mut self, slot: usize, call: impl FnOnce(&mut Client) -> Flow) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(client) = connection.client() else { return };

        let span = client.span();

        let flow = catch_unwind(AssertUnwindSafe(|| span.in_scope(|| call(client))));
        self.mark_dirty(slot);
        match flow {
            Ok(Flow::Continue) => {}
            Ok(Flow::Close(code)) => self.close(slot, code.into()),
            Err(_) => {
                error!("a connection is closed because its handling panicked");
                self.close(slot, CloseCode::Internal.into());
            }
        }
    }

    /// Acts on the deadlines of a connection that have passed by now.
    pub(super) fn check_deadlines_now(&mut self, slot: usize) {
        self.check_deadlines(slot, Now { at: Instant::now(), unix_ms: now_ms() });
    }

    /// Acts on the deadlines of a connection, and sets its timer to the next one.
    pub(super) fn check_deadlines(&mut self, slot: usize, now: Now) {
        let Some(connection) = self.connections.get_mut(slot) else { return };

        let next = match &connection.phase {
            Phase::Opening(opening) => opening.deadline(),
            Phase::Open(_) => match connection.check_deadlines(now) {
                Ok(next) => {
                    // Raw input that waited for the program may have been written.
                    self.mark_readable(slot);
                    next
                }
                Err(code) => return self.close(slot, code.into()),
            },
            Phase::Closing(closing) => closing.until,
            Phase::Lingering(lingering) => lingering.until,
        };

        if next <= now.at && !matches!(self.connections[slot].phase, Phase::Open(_)) {
            return self.cut(slot);
        }

        self.set_timer(slot, next);
    }
}
