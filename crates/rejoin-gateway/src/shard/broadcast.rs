//! Frames to sockets: the broadcast to readers that are up to date, and the catching up of others.

use std::{
    io, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use rejoin_core::{DropReason, FrameEncoding, LagPolicy, Progress, ReadLimit, SlowReaderPolicy};
use rejoin_protocol::{CloseCode, StreamNumber};
use slab::Slab;
use tracing::{debug, warn};

use crate::shard::{
    batch::{Joined, LIMIT},
    connection::{Connection, Phase},
    inbox::Command,
    readers::{Entry, Readers},
    run::{Shard, mark_behind},
};

/// Sockets whose outputs are loaded together, before the first of them is written.
const LOOK_AHEAD: usize = 16;
/// Bytes that one broadcast writes to all readers together, if each gets more than a little: the
/// other connections of the shard wait for it.
const BROADCAST_BYTES: usize = 32 * 1024 * 1024;
/// Bytes that each reader gets however many there are.
const MIN_BATCH_BYTES: usize = 16 * 1024;
/// Batches that one reader catches up before the next one gets its turn.
const CATCH_UP_BATCHES: usize = 2;
/// Bytes of a batch that may be appended behind a connection's replies. If the socket takes less,
/// they wait with the connection; of a larger batch, the reader catches up instead.
const MAX_APPENDED_BYTES: usize = 16 * 1024;
/// A broadcast that takes longer is logged (A2).
const SLOW_BROADCAST: Duration = Duration::from_millis(100);

/// How far a reader came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caught {
    /// It has read all there is.
    Up,
    /// It waits for its socket, or for a snapshot.
    Waits,
    /// It has had its turn, and there is more.
    Turn,
    /// Its next frame is gone, and slow readers of its stream are closed.
    TooSlow,
    /// It has read all there ever will be, and its connection has nothing else to do.
    End,
}

/// What became of the readers of one broadcast.
#[derive(Debug, Default)]
struct Outcome {
    messages: u64,
    bytes: u64,
    failed: Vec<(usize, io::Error)>,
    /// Connections to which frames were appended behind other messages.
    appended: Vec<usize>,
    /// Connections whose replies must be sent before so many frames.
    behind: Vec<usize>,
    /// Frames that readers behind can never get.
    lost: u64,
    /// Readers whose next frame is gone while their sockets are blocked.
    too_slow: Vec<usize>,
}

impl Shard {
    /// Gives a stream's next frames to all of its readers that are up to date.
    pub(super) fn broadcast(&mut self, number: StreamNumber) {
        let Some(readers) = self.streams.get_mut(&number) else { return };
        let mut joined = mem::take(&mut self.joined);
        let limit = limit(readers.entries.len());
        match readers.follower.take(readers.cursor, limit, &mut joined.batch) {
            Progress::UpToDate => {}
            Progress::Finished => {
                // Each reader that ends with it is looked at by itself: it may be behind.
                let connections = &self.connections;
                let is_raw = |slot: &usize| connections[*slot].output.form() == FrameEncoding::Raw;
                let slots = readers.entries.iter().map(|entry| entry.slot).filter(is_raw);
                for slot in slots.collect::<Vec<_>>() {
                    self.mark_behind(slot);
                }
            }
            Progress::Behind { oldest, .. } => {
                // Appends that do not wait outran the shard: each reader gets its own gap or snapshot.
                readers.cursor = oldest;
                for entry in &readers.entries {
                    mark_behind(&mut self.connections, &mut self.work.behind, entry.slot);
                }
                self.work.advanced.push_back(number);
            }
            Progress::Frames => {
                joined.renew();
                let begun = Instant::now();
                let outcome = write_all(&mut self.connections, readers, &mut joined);
                let took = begun.elapsed();
                self.metrics.broadcast_took(took);
                self.metrics.messages_sent.inc_by(outcome.messages);
                self.metrics.bytes_sent.inc_by(outcome.bytes);
                let reason = readers.drop_reason();
                self.metrics.frames_dropped(reason, outcome.lost);
                if took > SLOW_BROADCAST {
                    let (frames, readers) = (joined.batch.frames.len(), readers.entries.len());
                    warn!(stream = %number, frames, readers, ?took, "slow broadcast");
                }
                readers.cursor = joined.batch.end();
                self.work.advanced.push_back(number);
                self.finish_broadcast(outcome);
            }
        }
        joined.batch.frames.clear();
        self.joined = joined;
    }

    /// Not before all readers were visited: a removal moves another reader to its place.
    fn finish_broadcast(&mut self, outcome: Outcome) {
        for slot in outcome.appended {
            self.mark_dirty(slot);
        }
        for slot in outcome.behind {
            self.mark_behind(slot);
        }
        for (slot, error) in outcome.failed {
            self.fail(slot, &error);
        }
        for slot in outcome.too_slow {
            self.close(slot, CloseCode::TooSlow.into());
        }
    }

    /// Brings a connection's readers up to date, as far as its turn and its socket allow.
    pub(super) fn catch_up(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.in_behind = false;
        match self.try_catch_up(slot) {
            Ok(true) => self.say_goodbye(slot),
            Ok(false) => {}
            Err(error) => return self.fail(slot, &error),
        }
        self.mark_dirty(slot);
    }

    /// The same; returns whether all of its readers are up to date.
    fn try_catch_up(&mut self, slot: usize) -> io::Result<bool> {
        let Some(connection) = self.connections.get_mut(slot) else { return Ok(false) };
        if !connection.output.is_open() {
            return Ok(false);
        }
        // A reader holds no frames: what the socket does not take stays in the ring. So replies
        // go first, and frames straight to the socket.
        let count = connection.output.flush(&mut self.scratch)?;
        self.metrics.bytes_sent.inc_by(count as u64);
        if connection.output.take_late() {
            for index in 0..connection.reads().len() {
                self.skip(slot, index)?;
            }
        }

        let (mut is_up, mut index) = (true, 0);
        while let Some(&(stream, _)) =
            self.connections.get(slot).and_then(|connection| connection.reads().get(index))
        {
            match self.catch_up_reader(slot, index)? {
                Caught::Up => {}
                Caught::Waits => is_up = false,
                Caught::Turn => {
                    is_up = false;
                    self.mark_behind(slot);
                }
                Caught::TooSlow => {
                    self.remove_reader(slot, stream, DropReason::Slow);
                    self.close(slot, CloseCode::TooSlow.into());
                    return Ok(false);
                }
                Caught::End => {
                    self.close(slot, CloseCode::Normal.into());
                    return Ok(false);
                }
            }
            index += 1;
        }
        Ok(is_up)
    }

    fn catch_up_reader(&mut self, slot: usize, index: usize) -> io::Result<Caught> {
        for _ in 0..CATCH_UP_BATCHES {
            let Some(connection) = self.connections.get_mut(slot) else { return Ok(Caught::Up) };
            if !connection.output.is_clear() {
                return Ok(Caught::Waits);
            }
            let (number, place) = connection.reads()[index];
            let readers = self.streams.get_mut(&number).expect("a stream that is read is there");
            let stream = readers.follower.stream();
            let entry = &mut readers.entries[place];
            if entry.waits {
                // A connection that closes does not wait for a snapshot.
                let is_open = matches!(connection.phase, Phase::Open(_));
                return Ok(if is_open { Caught::Waits } else { Caught::Up });
            }

            let output = &mut connection.output;
            let form = output.form();
            match stream.read(entry.reader, LIMIT, &mut self.joined.batch) {
                Progress::Finished if form == FrameEncoding::Raw => return Ok(Caught::End),
                Progress::UpToDate | Progress::Finished => return Ok(Caught::Up),
                Progress::Frames => {
                    self.joined.renew();
                    let from = entry.reader.next;
                    let written = output.write(self.joined.bytes_from(form, from))?;
                    let (next, rest) = self.joined.after(form, from, written);
                    entry.reader.next = next;
                    output.push_rest(rest);
                    self.metrics.messages_sent.inc_by(next - from);
                    self.metrics.bytes_sent.inc_by(written as u64);
                }
                Progress::Behind { oldest, notice } => match stream.lag_policy() {
                    LagPolicy::Gap { policy: SlowReaderPolicy::Disconnect, .. } => {
                        return Ok(Caught::TooSlow);
                    }
                    LagPolicy::Gap { encode, .. } => {
                        debug!(slot, stream = %number, missed = notice.missed, "reader behind");
                        self.metrics.frames_dropped(DropReason::Retention, entry.lose(oldest));
                        entry.reader.next = oldest;
                        output.push(encode(notice));
                        output.flush(&mut self.scratch)?;
                    }
                    LagPolicy::Snapshot(source) => {
                        debug!(slot, stream = %number, missed = notice.missed, "reader skips");
                        entry.waits = true;
                        let snapshot = source.snapshot();
                        let Some(client) = connection.client() else { return Ok(Caught::Up) };
                        let outbox = Arc::clone(client.outbox());
                        let shard = self.handle.clone();
                        self.context.gateway.shutdown.spawn(async move {
                            let snapshot = snapshot.await;
                            if let Some(snapshot) = &snapshot {
                                snapshot.holders.add(&outbox);
                            }
                            shard.send(Command::Snapshot(outbox, number, snapshot));
                        });
                        return Ok(Caught::Waits);
                    }
                },
            }
        }
        Ok(Caught::Turn)
    }

    /// Lets a reader skip to the newest frame, if that is what its stream does with slow ones.
    fn skip(&mut self, slot: usize, index: usize) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(slot) else { return Ok(()) };
        let (number, place) = connection.reads()[index];
        let readers = self.streams.get_mut(&number).expect("a stream that is read is there");
        let (stream, entry) = (readers.follower.stream(), &mut readers.entries[place]);
        let LagPolicy::Gap { encode, .. } = stream.lag_policy() else { return Ok(()) };
        let Some((reader, notice)) = stream.skip(entry.reader) else { return Ok(()) };
        debug!(slot, stream = %number, missed = notice.missed, "reader skips to the latest");
        self.metrics.frames_dropped(DropReason::Latest, entry.lose(reader.next));
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
    joined: &mut Joined,
) -> Outcome {
    let mut outcome = Outcome::default();
    let end = joined.batch.end();
    let stream = readers.follower.stream().clone();
    let is_strict =
        matches!(stream.lag_policy(), LagPolicy::Gap { policy: SlowReaderPolicy::Disconnect, .. });
    let (count, mut oldest) = (readers.entries.len(), None);
    for index in 0..count {
        if index % LOOK_AHEAD == 0 {
            look_ahead(connections, &readers.entries[index..(index + LOOK_AHEAD).min(count)]);
        }
        let entry = &mut readers.entries[index];
        let Entry { slot, reader, waits, .. } = entry;
        let output = &mut connections[*slot].output;
        let from = reader.next;
        if *waits || !output.is_open() || from < joined.batch.first || from >= end {
            // It catches up when its socket, its snapshot or its turn comes, unless its stream
            // closes slow readers.
            let oldest = *oldest.get_or_insert_with(|| stream.oldest());
            if is_strict && output.is_blocked() && from < oldest {
                outcome.too_slow.push(*slot);
            } else {
                outcome.lost += entry.lose(oldest);
            }
            continue;
        }
        if !output.is_clear() {
            let frames = joined.frames_from(from);
            if frames.iter().map(|frame| frame.plain().len()).sum::<usize>() > MAX_APPENDED_BYTES {
                outcome.behind.push(*slot);
                continue;
            }
            // Its replies are sent at the end of the pass, and these frames with them.
            output.push_frames(frames);
            outcome.appended.push(*slot);
            outcome.messages += end - from;
            reader.next = end;
            continue;
        }
        outcome.messages += end - from;
        reader.next = end;
        let form = output.form();
        let bytes = joined.bytes_from(form, from);
        match output.write(bytes) {
            Ok(written) => {
                outcome.bytes += written as u64;
                if written < bytes.len() {
                    let (next, rest) = joined.after(form, from, written);
                    outcome.messages -= end - next;
                    reader.next = next;
                    output.push_rest(rest);
                } else if output.has_unsent() {
                    outcome.appended.push(*slot);
                }
            }
            Err(error) => outcome.failed.push((*slot, error)),
        }
    }
    outcome
}

/// How much a broadcast to so many readers takes.
fn limit(readers: usize) -> ReadLimit {
    let share = BROADCAST_BYTES / readers.max(1);
    let bytes = share.clamp(MIN_BATCH_BYTES, LIMIT.bytes);
    ReadLimit { bytes, ..LIMIT }
}

/// Loads the outputs that are written next into the processor's cache.
///
/// An output, its socket and the socket's number are lines of memory that nothing has looked at
/// since the last broadcast. For one output after the other, each `send` would wait for them;
/// asked for together they arrive together.
fn look_ahead(connections: &Slab<Connection>, entries: &[Entry]) {
    for entry in entries {
        connections[entry.slot].output.prefetch();
    }
}
