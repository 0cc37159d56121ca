//! Frames to sockets: broadcasts to up-to-date readers, and catching up for the others.

use std::{
    io, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use rejoin_core::{FrameEncoding, LagPolicy, Progress, ReadLimit, SlowReaderPolicy};
use rejoin_protocol::{CloseCode, StreamNumber};
use slab::Slab;
use tracing::{debug, warn};

use crate::metrics::DropReason;
use crate::shard::{
    Shard,
    batch::{JoinedBatch, LIMIT},
    connection::{Connection, Phase},
    inbox::Command,
    readers::{ReaderEntry, Readers},
};

/// The number of outputs that are prefetched before the first of them is written.
const PREFETCH: usize = 16;
/// The target for the bytes that one broadcast writes to all readers together. The other
/// connections of the shard wait meanwhile.
const BROADCAST_BYTES: usize = 32 * 1024 * 1024;
/// The minimum number of bytes that a broadcast takes, however many readers there are.
const MIN_BATCH_BYTES: usize = 16 * 1024;
/// The number of batches that one reader writes in a pass while it catches up.
const CATCH_UP_BATCHES: usize = 2;
/// The maximum size of a batch that is appended to pending replies, in bytes, and stays in memory
/// if the socket is full. A larger one stays in the ring; the reader catches up after the replies.
const MAX_APPENDED_BYTES: usize = 16 * 1024;
/// The duration above which a broadcast is logged.
const SLOW_BROADCAST: Duration = Duration::from_millis(100);

/// The result of one reader's turn to catch up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CatchUp {
    /// The reader has read all frames.
    UpToDate,
    /// The reader waits for its socket or for a snapshot.
    Waiting,
    /// The turn is used up, and frames are left.
    TurnOver,
    /// The reader's next frame was dropped, and its topic disconnects slow readers.
    TooSlow,
    /// The stream is finished and read to its end; a raw connection serves no other purpose.
    Finished,
}

/// The result of writing one batch to all readers of a stream.
#[derive(Debug, Default)]
struct WriteSummary {
    messages: u64,
    bytes: u64,
    /// Connections whose sockets are broken.
    failed: Vec<(usize, io::Error)>,
    /// Connections with output to flush at the end of the pass.
    appended: Vec<usize>,
    /// Connections whose readers must catch up after their replies are sent.
    behind: Vec<usize>,
    /// The number of frames that readers have lost since they were last counted.
    lost: u64,
    /// Connections of readers that lost frames of a topic that disconnects slow readers.
    too_slow: Vec<usize>,
}

impl Shard {
    /// Writes the next frames of a stream to all of its readers that are up to date.
    pub(super) fn broadcast(&mut self, number: StreamNumber) {
        let Some(readers) = self.streams.get_mut(&number) else { return };

        let mut joined = mem::take(&mut self.joined);
        let limit = batch_limit(readers.entries.len());

        match readers.follower.take(readers.cursor, limit, &mut joined.batch) {
            Progress::UpToDate => {}
            Progress::Finished => {
                // Raw connections close with their stream, but each reads the rest first.
                let connections = &self.connections;
                let is_raw =
                    |slot: &usize| connections[*slot].output.encoding() == FrameEncoding::Raw;
                let slots = readers.entries.iter().map(|entry| entry.slot).filter(is_raw);
                for slot in slots.collect::<Vec<_>>() {
                    self.mark_behind(slot);
                }
            }
            Progress::Behind { oldest, .. } => {
                // Appends that do not wait outran the shard. Each reader receives its own gap or
                // snapshot while it catches up.
                readers.cursor = oldest;
                for entry in &readers.entries {
                    self.work.mark_behind(&mut self.connections, entry.slot);
                }
                self.work.advanced.push_back(number);
            }
            Progress::Frames => {
                joined.clear_layouts();
                let start = Instant::now();
                let summary = write_all(&mut self.connections, readers, &mut joined);
                let duration = start.elapsed();

                self.metrics.broadcast_took(duration);
                self.metrics.messages_sent.inc_by(summary.messages);
                self.metrics.bytes_sent.inc_by(summary.bytes);
                let reason = readers.drop_reason();
                self.metrics.frames_dropped(reason, summary.lost);
                if duration > SLOW_BROADCAST {
                    let (frames, readers) = (joined.batch.frames.len(), readers.entries.len());
                    warn!(stream = %number, frames, readers, ?duration, "slow broadcast");
                }

                readers.cursor = joined.batch.end();

                // The stream may have more. The follower is notified again only once the shard has
                // taken everything, so the shard must ask.
                self.work.advanced.push_back(number);
                self.finish_broadcast(summary);
            }
        }

        joined.batch.frames.clear();
        self.joined = joined;
    }

    /// Acts on the result of a broadcast.
    ///
    /// Separate from the writes: closing a connection removes its reader, which moves another
    /// entry to its index while the entries are walked.
    fn finish_broadcast(&mut self, summary: WriteSummary) {
        for slot in summary.appended {
            self.mark_dirty(slot);
        }
        for slot in summary.behind {
            self.mark_behind(slot);
        }
        for (slot, error) in summary.failed {
            self.fail(slot, &error);
        }
        for slot in summary.too_slow {
            self.close(slot, CloseCode::TooSlow.into());
        }
    }

    /// Lets the readers of a connection catch up, as far as their turns and the socket allow.
    pub(super) fn catch_up(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };

        connection.in_behind = false;

        match self.catch_up_readers(slot) {
            Ok(true) => self.send_close_notice(slot),
            Ok(false) => {}
            Err(error) => return self.fail(slot, &error),
        }
        self.mark_dirty(slot);
    }

    /// Lets the readers of a connection catch up. Returns `true` if all are up to date.
    ///
    /// # Errors
    /// If the socket is broken.
    fn catch_up_readers(&mut self, slot: usize) -> io::Result<bool> {
        let Some(connection) = self.connections.get_mut(slot) else { return Ok(false) };
        if !connection.output.is_open() {
            return Ok(false);
        }

        // Frames are written straight to the socket, so that those that do not fit stay in the
        // ring. Pending replies therefore have to be written before.
        let count = connection.output.flush(&mut self.scratch)?;
        self.metrics.bytes_sent.inc_by(count as u64);
        if connection.output.take_was_blocked() {
            for index in 0..connection.reads().len() {
                self.skip_to_latest(slot, index)?;
            }
        }

        // By index: a reader's turn may close the connection or change its list of readers.
        let (mut is_up_to_date, mut index) = (true, 0);
        while let Some(&(stream, _)) =
            self.connections.get(slot).and_then(|connection| connection.reads().get(index))
        {
            match self.catch_up_reader(slot, index)? {
                CatchUp::UpToDate => {}
                CatchUp::Waiting => is_up_to_date = false,
                CatchUp::TurnOver => {
                    is_up_to_date = false;
                    self.mark_behind(slot);
                }
                CatchUp::TooSlow => {
                    self.remove_reader(slot, stream, DropReason::Slow);
                    self.close(slot, CloseCode::TooSlow.into());
                    return Ok(false);
                }
                CatchUp::Finished => {
                    self.close(slot, CloseCode::Normal.into());
                    return Ok(false);
                }
            }
            index += 1;
        }

        Ok(is_up_to_date)
    }

    /// Lets one reader, at `index` of the connection's list, catch up for one turn.
    fn catch_up_reader(&mut self, slot: usize, index: usize) -> io::Result<CatchUp> {
        for _ in 0..CATCH_UP_BATCHES {
            let Some(connection) = self.connections.get_mut(slot) else {
                return Ok(CatchUp::UpToDate);
            };
            if !connection.output.is_clear() {
                return Ok(CatchUp::Waiting);
            }

            let (number, entry_index) = connection.reads()[index];
            let readers =
                self.streams.get_mut(&number).expect("a stream with a reader is registered");
            let stream = readers.follower.stream();
            let entry = &mut readers.entries[entry_index];
            if entry.awaits_snapshot {
                // A closing connection does not wait for a snapshot.
                let is_open = matches!(connection.phase, Phase::Open(_));
                return Ok(if is_open { CatchUp::Waiting } else { CatchUp::UpToDate });
            }

            let output = &mut connection.output;
            let encoding = output.encoding();
            match stream.read(entry.reader, LIMIT, &mut self.joined.batch) {
                Progress::Finished if encoding == FrameEncoding::Raw => {
                    return Ok(CatchUp::Finished);
                }
                Progress::UpToDate | Progress::Finished => return Ok(CatchUp::UpToDate),
                Progress::Frames => {
                    self.joined.clear_layouts();
                    let from = entry.reader.next;
                    let written = output.write(self.joined.bytes_from(encoding, from))?;
                    let (next, rest) = self.joined.after_write(encoding, from, written);
                    entry.reader.next = next;
                    output.push_rest(rest);
                    self.metrics.messages_sent.inc_by(next - from);
                    self.metrics.bytes_sent.inc_by(written as u64);
                }
                Progress::Behind { oldest, notice } => match stream.lag_policy() {
                    LagPolicy::Gap { policy: SlowReaderPolicy::Disconnect, .. } => {
                        return Ok(CatchUp::TooSlow);
                    }
                    LagPolicy::Gap { encode, .. } => {
                        debug!(slot, stream = %number, missed = notice.missed, "reader behind");
                        self.metrics
                            .frames_dropped(DropReason::Retention, entry.count_lost(oldest));
                        entry.reader.next = oldest;
                        output.push(encode(notice));
                        output.flush(&mut self.scratch)?;
                    }
                    LagPolicy::Snapshot(source) => {
                        debug!(slot, stream = %number, missed = notice.missed, "reader skips");
                        entry.awaits_snapshot = true;
                        let snapshot = source.snapshot();
                        let Some(client) = connection.client() else {
                            return Ok(CatchUp::UpToDate);
                        };
                        let outbox = Arc::clone(client.outbox());
                        let shard = self.handle.clone();
                        self.context.gateway.shutdown.spawn(async move {
                            let snapshot = snapshot.await;
                            let holders = snapshot.as_ref().map(|it| it.holders.clone());
                            shard.send(Command::Snapshot(outbox.clone(), number, snapshot));
                            // A holder keeps the snapshot in memory. The owner closes the holders of
                            // old snapshots that do not read, so it must know them.
                            if let Some(holders) = holders {
                                holders.add(&outbox);
                            }
                        });

                        return Ok(CatchUp::Waiting);
                    }
                },
            }
        }

        Ok(CatchUp::TurnOver)
    }

    /// Skips a reader to the newest frame if its topic has the policy `latest`.
    fn skip_to_latest(&mut self, slot: usize, index: usize) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(slot) else { return Ok(()) };

        let (number, entry_index) = connection.reads()[index];
        let readers = self.streams.get_mut(&number).expect("a stream with a reader is registered");
        let (stream, entry) = (readers.follower.stream(), &mut readers.entries[entry_index]);

        let LagPolicy::Gap { encode, .. } = stream.lag_policy() else { return Ok(()) };
        let Some((reader, notice)) = stream.skip(entry.reader) else { return Ok(()) };

        debug!(slot, stream = %number, missed = notice.missed, "reader skips to the latest");
        self.metrics.frames_dropped(DropReason::Latest, entry.count_lost(reader.next));
        entry.reader = reader;
        connection.output.push(encode(notice));
        connection.output.flush(&mut self.scratch)?;
        Ok(())
    }
}

/// Writes a batch to each reader that is up to date.
fn write_all(
    connections: &mut Slab<Connection>,
    readers: &mut Readers,
    joined: &mut JoinedBatch,
) -> WriteSummary {
    let mut summary = WriteSummary::default();
    let end = joined.batch.end();
    let stream = readers.follower.stream().clone();
    let is_strict =
        matches!(stream.lag_policy(), LagPolicy::Gap { policy: SlowReaderPolicy::Disconnect, .. });

    // Looked up once, and only if a reader is behind: it takes the stream's lock.
    let (count, mut oldest) = (readers.entries.len(), None);

    for index in 0..count {
        if index % PREFETCH == 0 {
            prefetch(connections, &readers.entries[index..(index + PREFETCH).min(count)]);
        }
        let entry = &mut readers.entries[index];
        let ReaderEntry { slot, reader, awaits_snapshot, .. } = entry;
        let output = &mut connections[*slot].output;
        let from = reader.next;

        // A reader that is behind or ahead catches up when its socket, its snapshot or its turn
        // is ready. Frames that it has lost meanwhile are counted now, not when it catches up: it
        // may never do so.
        if *awaits_snapshot || !output.is_open() || from < joined.batch.first || from >= end {
            let oldest = *oldest.get_or_insert_with(|| stream.oldest());
            if is_strict && output.is_blocked() && from < oldest {
                summary.too_slow.push(*slot);
            } else {
                summary.lost += entry.count_lost(oldest);
            }
            continue;
        }

        // Pending replies are flushed at the end of the pass. The frames join the same write.
        if !output.is_clear() {
            let frames = joined.frames_from(from);
            if frames.iter().map(|frame| frame.plain().len()).sum::<usize>() > MAX_APPENDED_BYTES {
                summary.behind.push(*slot);
                continue;
            }

            output.push_frames(frames);
            summary.appended.push(*slot);
            summary.messages += end - from;
            reader.next = end;
            continue;
        }

        summary.messages += end - from;
        reader.next = end;
        let encoding = output.encoding();
        let bytes = joined.bytes_from(encoding, from);
        match output.write(bytes) {
            Ok(written) => {
                summary.bytes += written as u64;
                if written < bytes.len() {
                    // The connection keeps the rest of the cut frame.
                    let (next, rest) = joined.after_write(encoding, from, written);
                    summary.messages -= end - next;
                    reader.next = next;
                    output.push_rest(rest);
                } else if output.has_unsent() {
                    summary.appended.push(*slot);
                }
            }
            Err(error) => summary.failed.push((*slot, error)),
        }
    }

    summary
}

/// Returns the limit of one batch for a broadcast to `readers` readers.
fn batch_limit(readers: usize) -> ReadLimit {
    let share = BROADCAST_BYTES / readers.max(1);
    let bytes = share.clamp(MIN_BATCH_BYTES, LIMIT.bytes);
    ReadLimit { bytes, ..LIMIT }
}

/// Loads the outputs of these readers into the processor's cache.
///
/// No output was accessed since the last broadcast, so each `send` would wait for three cache
/// misses in turn: the output, the socket, and the socket's descriptor. Requested together, they
/// are loaded in parallel.
fn prefetch(connections: &Slab<Connection>, entries: &[ReaderEntry]) {
    for entry in entries {
        connections[entry.slot].output.prefetch();
    }
}
