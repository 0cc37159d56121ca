//! The readers that one shard has of one stream.

use std::{collections::hash_map, sync::Arc};

use rejoin_core::{DropReason, Follower, Reader, Seq, Snapshot, Stream, Wake};
use rejoin_protocol::StreamNumber;

use crate::shard::run::Run;

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
}

impl Readers {
    pub(super) fn new(follower: Follower, cursor: Seq) -> Self {
        Self { follower, cursor, entries: Vec::new() }
    }
}

impl Run {
    /// Gives a reader that fell behind the state instead.
    pub(super) fn skip_to(
        &mut self,
        slot: usize,
        stream: StreamNumber,
        snapshot: Option<Snapshot>,
    ) {
        let Some(Some(writer)) = self.writers.get_mut(slot) else { return };
        let Some(place) = writer.place(stream).filter(|_| !writer.closing) else { return };
        let Some(readers) = self.streams.get_mut(&stream) else { return };
        let entry = readers.entries.get_mut(place);
        // It may have stopped reading, or begun anew, while the snapshot was made.
        let Some(entry) = entry.filter(|entry| entry.waits) else { return };
        let Some(snapshot) = snapshot else {
            // Without an owner there is nothing more to read.
            return self.remove_reader(slot, stream, DropReason::Snapshot);
        };
        self.metrics
            .frames_dropped(DropReason::Snapshot, snapshot.seq.saturating_sub(entry.reader.next));
        self.metrics.snapshots_sent.inc();
        entry.waits = false;
        entry.reader = Reader { next: snapshot.seq };
        writer.put(&snapshot.messages);
    }

    pub(super) fn add_reader(&mut self, slot: usize, stream: &Stream, reader: Reader) {
        let number = stream.number();
        self.remove_reader(slot, number, DropReason::Closed);
        let readers = match self.streams.entry(number) {
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(entry) => {
                let wake: Arc<dyn Wake> = Arc::clone(&self.shared) as _;
                entry.insert(Readers::new(stream.follow(wake, reader.next), reader.next))
            }
        };
        if let Some(Some(writer)) = self.writers.get_mut(slot) {
            writer.reads.push((number, readers.entries.len()));
            readers.entries.push(Entry { slot, reader, waits: false });
        }
    }

    /// Ends the reading of a stream; what was not read is counted.
    pub(super) fn remove_reader(&mut self, slot: usize, stream: StreamNumber, why: DropReason) {
        let Some(Some(writer)) = self.writers.get_mut(slot) else { return };
        if let Some(place) = writer.place(stream) {
            writer.reads.retain(|(number, _)| *number != stream);
            self.remove_entry(stream, place, why);
        }
    }

    pub(super) fn remove_entry(&mut self, stream: StreamNumber, place: usize, why: DropReason) {
        let hash_map::Entry::Occupied(mut readers) = self.streams.entry(stream) else { return };
        let Readers { follower, entries, .. } = readers.get_mut();
        let removed = entries.swap_remove(place);
        self.metrics.frames_dropped(why, follower.stream().unread(removed.reader));
        if let Some(moved) = entries.get(place) {
            if let Some(Some(writer)) = self.writers.get_mut(moved.slot) {
                writer.move_to(stream, place);
            }
        } else if entries.is_empty() {
            readers.remove();
        }
    }
}
