//! The readers of one stream among the connections of one shard.

use std::{collections::hash_map, sync::Arc};

use rejoin_core::{Follower, LagPolicy, Outbox, Reader, Seq, Snapshot, Stream};
use rejoin_protocol::{ErrorCode, StreamNumber, message::ErrorBody};

use crate::{
    metrics::DropReason,
    shard::{
        Shard,
        window::{SendWindow, binary_bytes},
    },
};

/// A shard's readers of one stream, and the cursor that up-to-date readers share.
#[derive(Debug)]
pub(super) struct Readers {
    /// The shard's registration with the stream. Dropped with the last reader.
    pub(super) follower: Follower,
    /// The next frame that a broadcast takes.
    pub(super) cursor: Seq,
    /// The readers, contiguous in memory because each broadcast walks them.
    pub(super) entries: Vec<ReaderEntry>,
}

/// The reader of one connection.
#[derive(Debug)]
pub(super) struct ReaderEntry {
    pub(super) slot: usize,
    pub(super) reader: Reader,
    pub(super) window: SendWindow,
    /// A snapshot was requested. The reader reads nothing until it arrives.
    pub(super) awaits_snapshot: bool,
    /// The frame up to which lost frames are counted in the metrics.
    counted: Seq,
}

impl ReaderEntry {
    /// Returns the number of frames before `oldest` that the reader has missed for good.
    ///
    /// Leaves out those that an earlier call has counted.
    pub(super) fn count_lost(&mut self, oldest: Seq) -> u64 {
        let from = self.reader.next.max(self.counted);
        self.counted = oldest.max(from);
        self.counted - from
    }
}

impl Readers {
    pub(super) fn new(follower: Follower, cursor: Seq) -> Self {
        Self { follower, cursor, entries: Vec::new() }
    }

    /// Returns the reason under which frames are counted that the reader lost by being behind.
    pub(super) fn drop_reason(&self) -> DropReason {
        match self.follower.stream().lag_policy() {
            LagPolicy::Gap { .. } => DropReason::Retention,
            LagPolicy::Snapshot(_) => DropReason::Snapshot,
        }
    }
}

impl Shard {
    /// Skips a reader that fell behind to a snapshot. `None` ends the reader.
    pub(super) fn apply_snapshot(
        &mut self,
        outbox: &Arc<Outbox>,
        stream: StreamNumber,
        snapshot: Option<Snapshot>,
    ) {
        let slot = outbox.slot();
        let Some(connection) = self.connections.get_mut(slot) else { return };

        // Another connection may use the slot by now.
        if !connection.has_outbox(outbox) {
            return;
        }

        let Some(index) = connection.reader_index(stream) else { return };
        let Some(readers) = self.streams.get_mut(&stream) else { return };

        let entry = readers.entries.get_mut(index);

        // In the meantime, the reader may have been replaced by a new one, which does not wait for
        // this snapshot.
        let Some(entry) = entry.filter(|entry| entry.awaits_snapshot) else { return };

        let Some(snapshot) = snapshot else {
            // The stream no longer has an owner, so nothing is left to read.
            return self.remove_reader(slot, stream, DropReason::Snapshot);
        };

        self.metrics.frames_dropped(DropReason::Snapshot, entry.count_lost(snapshot.seq));
        self.metrics.snapshots_sent.inc();
        entry.awaits_snapshot = false;
        entry.window.record_sent(binary_bytes(&snapshot.messages));
        entry.reader = Reader { next: snapshot.seq };
        connection.output.push_frames(&snapshot.messages);
        self.mark_behind(slot);
    }

    /// Adds a connection's reader of a stream. Replaces an earlier one.
    pub(super) fn add_reader(
        &mut self,
        slot: usize,
        stream: &Stream,
        reader: Reader,
        window: SendWindow,
    ) {
        let number = stream.number();
        self.remove_reader(slot, number, DropReason::Closed);

        let readers = match self.streams.entry(number) {
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(entry) => {
                let follower = stream.follow(self.handle.wake(), reader.next);
                entry.insert(Readers::new(follower, reader.next))
            }
        };

        if let Some(connection) = self.connections.get_mut(slot) {
            connection.add_read(number, readers.entries.len());
            let entry = ReaderEntry { slot, reader, window, awaits_snapshot: false, counted: 0 };
            readers.entries.push(entry);

            // Its position may differ from the shared cursor.
            self.mark_behind(slot);
        }
    }

    /// Moves the window of a reader past the bytes that its client has parsed.
    pub(super) fn acknowledge(&mut self, slot: usize, stream: StreamNumber, parsed: u64) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        // An attachment whose session is gone has no reader left.
        let Some(index) = connection.reader_index(stream) else { return };
        let Some(readers) = self.streams.get_mut(&stream) else { return };

        let entry = &mut readers.entries[index];
        match entry.window.acknowledge(parsed) {
            Ok(()) if entry.reader.next == readers.cursor => {}
            Ok(()) => self.mark_behind(slot),
            Err(error) => {
                let client = connection.client().and_then(|client| client.connection());
                if let Some(client) = client {
                    client.send_error(
                        None,
                        ErrorBody::new(ErrorCode::InvalidField, error.to_string()),
                    );
                }
            }
        }
    }

    /// Removes a connection's reader of a stream, and counts the frames that it did not read.
    pub(super) fn remove_reader(&mut self, slot: usize, stream: StreamNumber, reason: DropReason) {
        let Some(connection) = self.connections.get_mut(slot) else { return };

        if let Some(index) = connection.reader_index(stream) {
            connection.remove_read(stream);
            self.remove_reader_at(stream, index, reason);
        }
    }

    /// Removes all readers of a connection.
    pub(super) fn end_reads(&mut self, slot: usize, reason: DropReason) {
        let Some(connection) = self.connections.get_mut(slot) else { return };

        for (stream, index) in connection.take_reads() {
            self.remove_reader_at(stream, index, reason);
        }
    }

    /// Removes the entry at `index` from the readers of a stream.
    ///
    /// The last entry moves to this index, so its connection is updated.
    pub(super) fn remove_reader_at(
        &mut self,
        stream: StreamNumber,
        index: usize,
        reason: DropReason,
    ) {
        let hash_map::Entry::Occupied(mut readers) = self.streams.entry(stream) else { return };

        let Readers { follower, entries, .. } = readers.get_mut();

        let mut removed = entries.swap_remove(index);
        // All frames up to the head are lost to this reader.
        let (head, _) = follower.stream().next();
        self.metrics.frames_dropped(reason, removed.count_lost(head));

        if let Some(moved) = entries.get(index) {
            if let Some(connection) = self.connections.get_mut(moved.slot) {
                connection.set_reader_index(stream, index);
            }
        } else if entries.is_empty() {
            readers.remove();
        }
    }
}
