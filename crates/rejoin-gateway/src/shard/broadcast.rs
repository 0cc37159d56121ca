//! Frames to sockets: the broadcast to readers that are up to date, and the catching up of others.

use std::{
    io, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use rejoin_core::{DropReason, Form, Lag, Progress, ReadLimit, SlowReader};
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
/// Pending bytes of a connection above which the next one catches up.
const CATCH_UP_BYTES: usize = 256 * 1024;
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
                let is_raw = |slot: &usize| connections[*slot].output.form() == Form::Raw;
                let slots = readers.entries.iter().map(|entry| entry.slot).filter(is_raw);
                for slot in slots.collect::<Vec<_>>() {
                    self.mark_behind(slot);
                }
            }
            Progress::Behind { oldest, .. } => {
                // Appends that do not wait outran the shard: each reader is told by itself.
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
                self.metrics.broadcast.observe(took.as_secs_f64());
                self.metrics.messages_sent.inc_by(outcome.messages);
                self.metrics.bytes_sent.inc_by(outcome.bytes);
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
        if !connection.output.is_open() {
            return;
        }
        if connection.output.take_late() {
            for index in 0..connection.reads().len() {
                self.skip(slot, index);
            }
        }

        let (mut is_up, mut index) = (true, 0);
        while let Some(&(stream, _)) =
            self.connections.get(slot).and_then(|connection| connection.reads().get(index))
        {
            match self.catch_up_reader(slot, index) {
                Caught::Up => {}
                Caught::Waits => is_up = false,
                Caught::Turn => {
                    is_up = false;
                    self.mark_behind(slot);
                }
                Caught::TooSlow => {
                    self.remove_reader(slot, stream, DropReason::Slow);
                    return self.close(slot, CloseCode::TooSlow.into());
                }
                Caught::End => return self.close(slot, CloseCode::Normal.into()),
            }
            index += 1;
        }

        self.mark_dirty(slot);
        if is_up {
            self.say_goodbye(slot);
        }
    }

    fn catch_up_reader(&mut self, slot: usize, index: usize) -> Caught {
        loop {
            let Some(connection) = self.connections.get_mut(slot) else { return Caught::Up };
            if !connection.output.is_open() {
                return Caught::Waits;
            }
            if connection.output.pending_bytes() >= CATCH_UP_BYTES {
                return Caught::Turn;
            }
            let (number, place) = connection.reads()[index];
            let readers = self.streams.get_mut(&number).expect("a stream that is read is there");
            let stream = readers.follower.stream();
            let entry = &mut readers.entries[place];
            if entry.waits {
                // A connection that closes does not wait for a snapshot.
                let is_open = matches!(connection.phase, Phase::Open(_));
                return if is_open { Caught::Waits } else { Caught::Up };
            }

            let form = connection.output.form();
            match stream.read(entry.reader, LIMIT, &mut self.joined.batch) {
                Progress::Finished if form == Form::Raw => return Caught::End,
                Progress::UpToDate | Progress::Finished => return Caught::Up,
                Progress::Frames => {
                    let batch = &self.joined.batch;
                    self.metrics.messages_sent.inc_by(batch.frames.len() as u64);
                    entry.reader.next = batch.end();
                    connection.output.push_frames(&batch.frames);
                }
                Progress::Behind { oldest, notice } => match stream.lag() {
                    Lag::Gap { policy: SlowReader::Disconnect, .. } => return Caught::TooSlow,
                    Lag::Gap { encode, .. } => {
                        debug!(slot, stream = %number, missed = notice.missed, "reader behind");
                        self.metrics.frames_dropped(DropReason::Retention, notice.missed);
                        entry.reader.next = oldest;
                        connection.output.push(encode(notice));
                    }
                    Lag::Snapshot(source) => {
                        debug!(slot, stream = %number, missed = notice.missed, "reader skips");
                        entry.waits = true;
                        let snapshot = source.snapshot();
                        let Some(client) = connection.client() else { return Caught::Up };
                        let outbox = Arc::clone(client.outbox());
                        let shard = self.handle.clone();
                        self.context.gateway.shutdown.spawn(async move {
                            let snapshot = snapshot.await;
                            shard.send(Command::Snapshot(outbox, number, snapshot));
                        });
                        return Caught::Waits;
                    }
                },
            }
        }
    }

    /// Lets a reader skip to the newest frame, if that is what its stream does with slow ones.
    fn skip(&mut self, slot: usize, index: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let (number, place) = connection.reads()[index];
        let readers = self.streams.get_mut(&number).expect("a stream that is read is there");
        let (stream, entry) = (readers.follower.stream(), &mut readers.entries[place]);
        let Lag::Gap { encode, .. } = stream.lag() else { return };
        let Some((reader, notice)) = stream.skip(entry.reader) else { return };
        debug!(slot, stream = %number, missed = notice.missed, "reader skips to the latest");
        self.metrics.frames_dropped(DropReason::Latest, notice.missed);
        entry.reader = reader;
        connection.output.push(encode(notice));
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
    let is_strict = matches!(stream.lag(), Lag::Gap { policy: SlowReader::Disconnect, .. });
    let count = readers.entries.len();
    for index in 0..count {
        if index % LOOK_AHEAD == 0 {
            look_ahead(connections, &readers.entries[index..(index + LOOK_AHEAD).min(count)]);
        }
        let Entry { slot, reader, waits } = &mut readers.entries[index];
        let output = &mut connections[*slot].output;
        let from = reader.next;
        if *waits || !output.is_open() || from < joined.batch.first || from >= end {
            // It catches up when its socket, its snapshot or its turn comes, unless its stream
            // closes slow readers.
            if is_strict && output.is_blocked() && !stream.holds(from) {
                outcome.too_slow.push(*slot);
            }
            continue;
        }
        outcome.messages += end - from;
        reader.next = end;
        if !output.is_clear() {
            // Its replies are sent at the end of the pass, and these frames with them.
            output.push_frames(joined.frames_from(from));
            outcome.appended.push(*slot);
            continue;
        }
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
