//! Broadcasts: write the next frames of a stream to the sockets of all up-to-date readers.

use std::{
    io, mem,
    time::{Duration, Instant},
};

use rejoin_core::{FrameEncoding, LagPolicy, Progress, ReadLimit, SlowReaderPolicy};
use rejoin_protocol::{CloseCode, StreamNumber};
use slab::Slab;
use tracing::warn;

use crate::shard::{
    Shard,
    batch::{JoinedBatch, LIMIT},
    connection::Connection,
    readers::{ReaderEntry, Readers},
};

/// The number of outputs that are prefetched before the first of them is written.
const PREFETCH: usize = 16;
/// The target for the total number of bytes that one broadcast writes to all readers. It bounds the
/// time for which the shard's other connections wait.
const BROADCAST_BYTES: usize = 32 * 1024 * 1024;
/// The minimum size of a broadcast's batch, in bytes, however many readers there are.
const MIN_BATCH_BYTES: usize = 16 * 1024;
/// The maximum size of a batch that is appended to pending replies, in bytes. It stays in memory if
/// the socket is full. A larger batch stays in the ring, and the reader catches up after the
/// replies are sent.
const MAX_APPENDED_BYTES: usize = 16 * 1024;
/// The duration above which a broadcast is logged as slow.
const SLOW_BROADCAST: Duration = Duration::from_millis(100);

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
    /// The number of frames that readers have lost since the last count.
    lost: u64,
    /// Connections that lost frames of a topic whose policy is to disconnect slow readers.
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
                // Raw connections close with their stream, but first each of them reads the rest.
                let connections = &self.connections;
                let is_raw =
                    |slot: &usize| connections[*slot].output.encoding() == FrameEncoding::Raw;
                let slots = readers.entries.iter().map(|entry| entry.slot).filter(is_raw);
                for slot in slots.collect::<Vec<_>>() {
                    self.mark_behind(slot);
                }
            }
            Progress::Behind { oldest, .. } => {
                // Appends that do not wait have overtaken the shard. Each reader receives its own
                // gap or snapshot while it catches up.
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

                // The stream may have more. The follower is not notified again until the shard has
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
    /// Runs only after all writes: closing a connection removes its reader and moves another entry
    /// to that index, which would disturb the loop over the entries.
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

    // Looked up at most once, and only if a reader is behind, because it takes the stream's lock.
    let (count, mut oldest) = (readers.entries.len(), None);

    for index in 0..count {
        if index % PREFETCH == 0 {
            prefetch(connections, &readers.entries[index..(index + PREFETCH).min(count)]);
        }
        let entry = &mut readers.entries[index];
        let ReaderEntry { slot, reader, window, awaits_snapshot, .. } = entry;
        let output = &mut connections[*slot].output;
        let from = reader.next;

        // A reader that is behind or ahead catches up when its socket, its snapshot or its turn is
        // ready. Frames that it has lost are counted now, because it may never catch up.
        if *awaits_snapshot || !output.is_open() || from < joined.batch.first || from >= end {
            let oldest = *oldest.get_or_insert_with(|| stream.oldest());
            if is_strict && output.is_blocked() && from < oldest {
                summary.too_slow.push(*slot);
            } else {
                summary.lost += entry.count_lost(oldest);
            }
            continue;
        }

        // A reader whose window is exhausted sends what fits and then waits for its client. From
        // then on it is behind, and costs broadcasts nothing.
        let bytes_ahead = joined.binary_bytes_from(from);
        if !window.admits(bytes_ahead) {
            summary.behind.push(*slot);
            continue;
        }

        // Pending replies are flushed at the end of the pass, and the frames join that write.
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
            window.record_sent(bytes_ahead);
            continue;
        }

        summary.messages += end - from;
        reader.next = end;
        window.record_sent(bytes_ahead);
        let encoding = output.encoding();
        let bytes = joined.bytes_from(encoding, from);
        match output.write(bytes) {
            Ok(written) => {
                summary.bytes += written as u64;
                if written < bytes.len() {
                    // The connection keeps the rest of a frame that was cut.
                    let (next, rest) = joined.after_write(encoding, from, written);
                    summary.messages -= end - next;
                    reader.next = next;
                    window.take_back(joined.binary_bytes_from(next));
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

/// Returns the limit of a batch that is broadcast to `readers` readers.
fn batch_limit(readers: usize) -> ReadLimit {
    let share = BROADCAST_BYTES / readers.max(1);
    let bytes = share.clamp(MIN_BATCH_BYTES, LIMIT.bytes);
    ReadLimit { bytes, ..LIMIT }
}

/// Loads the outputs of these readers into the processor's cache.
///
/// The outputs have not been accessed since the last broadcast, so each `send` would wait for three
/// cache misses in turn: the output, the socket, and the socket's descriptor. Requested together,
/// they are loaded in parallel.
fn prefetch(connections: &Slab<Connection>, entries: &[ReaderEntry]) {
    for entry in entries {
        connections[entry.slot].output.prefetch();
    }
}
