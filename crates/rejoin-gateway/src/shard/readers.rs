//! The readers that one shard has of one stream.

use std::{collections::hash_map, sync::Arc};

use rejoin_core::{DropReason, Follower, LagPolicy, Outbox, Reader, Seq, Snapshot, Stream};
use rejoin_protocol::StreamNumber;

use crate::shard::run::Shard;

/// A shard's readers of one stream, and how far all that are up to date have come.
#[derive(Debug)]
pub(super) struct Readers {
    pub(super) follower: Follower,
    /// Where readers are that are neither behind nor ahead.
    pub(super) cursor: Seq,
    /// Side by side, because each broadcast walks them.
    pub(super) entries: Vec<Entry>,
}

/// One connection's reader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) slot: usize,
    pub(super) reader: Reader,
    /// A snapshot was asked for; nothing is read until it is there.
    pub(super) waits: bool,
    /// Frames before this one that it did not get are counted as dropped.
    counted: Seq,
}

impl Entry {
    /// The number of frames before `oldest` that the reader cannot get any more, those that were
    /// counted before not among them.
    pub(super) fn lose(&mut self, oldest: Seq) -> u64 {
        let from = self.reader.next.max(self.counted);
        self.counted = oldest.max(from);
        self.counted - from
    }
}

impl Readers {
    pub(super) fn new(follower: Follower, cursor: Seq) -> Self {
        Self { follower, cursor, entries: Vec::new() }
    }

    /// Why a reader that is behind misses frames.
    pub(super) fn drop_reason(&self) -> DropReason {
        match self.follower.stream().lag_policy() {
            LagPolicy::Gap { .. } => DropReason::Retention,
            LagPolicy::Snapshot(_) => DropReason::Snapshot,
        }
    }
}

impl Shard {
    /// Gives a reader that fell behind the state instead.
    pub(super) fn skip_to(
        &mut self,
        outbox: &Arc<Outbox>,
        stream: StreamNumber,
        snapshot: Option<Snapshot>,
    ) {
        let slot = outbox.slot();
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !connection.has_outbox(outbox) {
            return;
        }
        let Some(place) = connection.place(stream) else { return };
        let Some(readers) = self.streams.get_mut(&stream) else { return };
        let entry = readers.entries.get_mut(place);
        // It may have stopped reading, or begun anew, while the snapshot was made.
        let Some(entry) = entry.filter(|entry| entry.waits) else { return };
        let Some(snapshot) = snapshot else {
            // Without an owner there is nothing more to read.
            return self.remove_reader(slot, stream, DropReason::Snapshot);
        };
        self.metrics.frames_dropped(DropReason::Snapshot, entry.lose(snapshot.seq));
        self.metrics.snapshots_sent.inc();
        entry.waits = false;
        entry.reader = Reader { next: snapshot.seq };
        connection.output.push_frames(&snapshot.messages);
        self.mark_behind(slot);
    }

    /// Lets a connection read a stream; an earlier reader of it ends.
    pub(super) fn add_reader(&mut self, slot: usize, stream: &Stream, reader: Reader) {
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
            readers.entries.push(Entry { slot, reader, waits: false, counted: 0 });
            self.mark_behind(slot);
        }
    }

    /// Ends the reading of a stream; what was not read is counted.
    pub(super) fn remove_reader(&mut self, slot: usize, stream: StreamNumber, why: DropReason) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if let Some(place) = connection.place(stream) {
            connection.remove_read(stream);
            self.remove_entry(stream, place, why);
        }
    }

    /// Ends all reading of a connection.
    pub(super) fn end_reads(&mut self, slot: usize, why: DropReason) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        for (stream, place) in connection.take_reads() {
            self.remove_entry(stream, place, why);
        }
    }

    pub(super) fn remove_entry(&mut self, stream: StreamNumber, place: usize, why: DropReason) {
        let hash_map::Entry::Occupied(mut readers) = self.streams.entry(stream) else { return };
        let Readers { follower, entries, .. } = readers.get_mut();
        let mut removed = entries.swap_remove(place);
        let (head, _) = follower.stream().next();
        self.metrics.frames_dropped(why, removed.lose(head));
        if let Some(moved) = entries.get(place) {
            if let Some(connection) = self.connections.get_mut(moved.slot) {
                connection.move_to(stream, place);
            }
        } else if entries.is_empty() {
            readers.remove();
        }
    }
}
