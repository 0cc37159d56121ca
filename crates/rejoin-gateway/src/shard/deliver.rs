//! Frames to sockets: the broadcast to those who are up to date, the catching up of the others.

use std::{
    io, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::stream::FuturesUnordered;
use rejoin_core::{DropReason, Form, Lag, Metrics, Progress, SlowReader};
use rejoin_protocol::StreamNumber;
use tracing::{debug, warn};

use crate::shard::{
    batch::{Joined, LIMIT},
    form,
    readers::Entry,
    run::{Event, Later, Run},
    serve::queue,
    writer::Writer,
};

/// Sockets that are written before others on the same thread get a turn.
const TURN_SOCKETS: usize = 128;
/// Sockets whose writers are looked at together, before the first of them is written.
const LOOK_AHEAD: usize = 16;
/// Batches that one connection catches up before the next one gets its turn.
const CATCH_UP_BATCHES: usize = 2;
/// A broadcast that takes longer is logged (A2).
const SLOW_BROADCAST: Duration = Duration::from_millis(100);

/// How far a reader came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caught {
    /// It has read all there is.
    Up,
    /// It has to wait for its socket, or for a snapshot.
    Waits,
    /// It has had its turn, and there is more.
    Turn,
    /// Its next frame is gone, and this stream's slow readers are let go.
    TooSlow,
    /// It has read all there ever will be, and its connection has nothing else to do.
    End,
}

/// What sockets took, gathered by a shard and counted once a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// Frames of streams, and replies.
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Sent {
    pub(super) fn count(self, metrics: &Metrics) {
        metrics.messages_sent.inc_by(self.messages);
        metrics.bytes_sent.inc_by(self.bytes);
    }
}

/// A walk over the readers of a broadcast.
#[derive(Debug, Default)]
struct Walk {
    /// The reader that comes next.
    index: usize,
    sent: Sent,
    failed: Vec<(usize, io::Error)>,
}

impl Run {
    /// Gives a stream's next frames to all of its readers that are up to date.
    pub(super) async fn broadcast(&mut self, number: StreamNumber) {
        let Some(readers) = self.streams.get_mut(&number) else { return };
        let mut joined = mem::take(&mut self.joined);
        match readers.follower.take(readers.cursor, LIMIT, &mut joined.batch) {
            Progress::UpToDate => {}
            Progress::Finished => {
                // Each that ends with it is looked at by itself: it may be behind.
                let is_raw = |writer: &Writer| writer.form == Form::Raw;
                let ends = |slot: usize| self.writers[slot].as_ref().is_some_and(is_raw);
                let slots = readers.entries.iter().map(|entry| entry.slot);
                for slot in slots.filter(|slot| ends(*slot)).collect::<Vec<_>>() {
                    queue(&mut self.writers, &mut self.behind, slot);
                }
            }
            Progress::Behind { oldest, .. } => {
                // Appends that waited for nobody outran the shard: each reader is told by itself.
                readers.cursor = oldest;
                for entry in &readers.entries {
                    queue(&mut self.writers, &mut self.behind, entry.slot);
                }
                self.advanced.push_back(number);
            }
            Progress::Frames => {
                joined.renew();
                let begun = Instant::now();
                let mut walk = Walk::default();
                while self.broadcast_turn(number, &mut joined, &mut walk) {
                    tokio::task::yield_now().await;
                }
                let took = begun.elapsed();
                self.metrics.broadcast.observe(took.as_secs_f64());
                walk.sent.count(&self.metrics);
                if took > SLOW_BROADCAST {
                    let frames = joined.batch.frames.len();
                    warn!(stream = %number, frames, readers = walk.index, ?took, "slow broadcast");
                }
                if let Some(readers) = self.streams.get_mut(&number) {
                    readers.cursor = joined.batch.end();
                    self.advanced.push_back(number);
                }
                // Not before all were visited: a removal moves another reader to its place.
                for (slot, error) in walk.failed {
                    self.fail(slot, &error);
                }
            }
        }
        joined.batch.frames.clear();
        self.joined = joined;
    }

    /// Writes to the next few readers; `false` when all have had theirs.
    fn broadcast_turn(
        &mut self,
        number: StreamNumber,
        joined: &mut Joined,
        walk: &mut Walk,
    ) -> bool {
        let end = joined.batch.end();
        let Some(readers) = self.streams.get_mut(&number) else { return false };
        let stop = (walk.index + TURN_SOCKETS).min(readers.entries.len());
        for index in walk.index..stop {
            if index % LOOK_AHEAD == 0 {
                let ahead = &readers.entries[index..(index + LOOK_AHEAD).min(stop)];
                look_at(&self.writers, ahead);
            }
            let entry = &mut readers.entries[index];
            let from = entry.reader.next;
            let Some(writer) = self.writers[entry.slot].as_mut() else { continue };
            if entry.waits || !writer.is_clear() || from < joined.batch.first || from >= end {
                // It catches up when its socket, its snapshot or its turn comes.
                continue;
            }
            let bytes = joined.bytes_from(writer.form, from);
            match writer.write(bytes) {
                Ok(written) if written == bytes.len() => {
                    entry.reader.next = end;
                    walk.sent.bytes += written as u64;
                }
                Ok(written) => {
                    let (next, rest) = joined.after(writer.form, from, written);
                    entry.reader.next = next;
                    writer.pending.extend(rest);
                    await_writable(&self.events, entry.slot, writer);
                    walk.sent.bytes += written as u64;
                }
                Err(error) => walk.failed.push((entry.slot, error)),
            }
            walk.sent.messages += entry.reader.next - from;
        }
        walk.index = stop;
        stop < readers.entries.len()
    }

    /// Brings one reader up to date, as far as its turn and its socket allow.
    pub(super) fn catch_up(&mut self, slot: usize, index: usize) -> io::Result<Caught> {
        for _ in 0..CATCH_UP_BATCHES {
            let Some(Some(writer)) = self.writers.get_mut(slot) else { return Ok(Caught::Up) };
            if !writer.is_clear() {
                return Ok(Caught::Waits);
            }
            let (number, place) = writer.reads[index];
            let readers = self.streams.get_mut(&number).expect("a stream that is read is there");
            let stream = readers.follower.stream();
            let entry = &mut readers.entries[place];
            if entry.waits {
                return Ok(Caught::Waits);
            }
            match stream.read(entry.reader, LIMIT, &mut self.joined.batch) {
                Progress::Finished if writer.form == Form::Raw => return Ok(Caught::End),
                Progress::UpToDate | Progress::Finished => return Ok(Caught::Up),
                Progress::Frames => {
                    self.joined.renew();
                    let (form, from) = (writer.form, entry.reader.next);
                    let written = writer.write(self.joined.bytes_from(form, from))?;
                    let (next, rest) = self.joined.after(form, from, written);
                    entry.reader.next = next;
                    writer.pending.extend(rest);
                    self.sent.messages += next - from;
                    self.sent.bytes += written as u64;
                }
                Progress::Behind { oldest, notice } => match stream.lag() {
                    Lag::Gap { policy: SlowReader::Disconnect, .. } => return Ok(Caught::TooSlow),
                    Lag::Gap { encode, .. } => {
                        debug!(slot, stream = %number, missed = notice.missed, "reader behind");
                        self.metrics.frames_dropped(DropReason::Retention, notice.missed);
                        entry.reader.next = oldest;
                        writer.pending.extend(form::of_reply(encode(notice), writer.form));
                        self.sent.bytes += writer.write_pending()? as u64;
                    }
                    Lag::Snapshot(source) => {
                        debug!(slot, stream = %number, missed = notice.missed, "reader skips");
                        entry.waits = true;
                        let generation = writer.generation;
                        let snapshot = source.snapshot();
                        self.events.push(Box::pin(async move {
                            let snapshot = snapshot.await;
                            Event::Snapshot { slot, generation, stream: number, snapshot }
                        }));
                        return Ok(Caught::Waits);
                    }
                },
            }
        }
        Ok(Caught::Turn)
    }

    /// Lets a reader skip to the newest frame, if that is what its stream does with slow ones.
    pub(super) fn skip(&mut self, slot: usize, index: usize) -> io::Result<()> {
        let Some(Some(writer)) = self.writers.get_mut(slot) else { return Ok(()) };
        let (number, place) = writer.reads[index];
        let readers = self.streams.get_mut(&number).expect("a stream that is read is there");
        let (stream, entry) = (readers.follower.stream(), &mut readers.entries[place]);
        let Lag::Gap { encode, .. } = stream.lag() else { return Ok(()) };
        let Some((reader, notice)) = stream.skip(entry.reader) else { return Ok(()) };
        debug!(slot, stream = %number, missed = notice.missed, "reader skips to the latest");
        self.metrics.frames_dropped(DropReason::Latest, notice.missed);
        entry.reader = reader;
        writer.pending.extend(form::of_reply(encode(notice), writer.form));
        self.sent.bytes += writer.write_pending()? as u64;
        Ok(())
    }
}

/// Has the writers in the processor's cache that are written next.
///
/// A writer, its socket and the socket's number are three lines of memory that nobody has looked
/// at since the last broadcast. For one writer after the other, each `send` would wait for them;
/// asked for together they arrive together.
fn look_at(writers: &[Option<Writer>], entries: &[Entry]) {
    for entry in entries {
        if let Some(writer) = &writers[entry.slot] {
            std::hint::black_box((writer.closing, writer.socket.number()));
        }
    }
}

/// Asks to be told when the socket takes more.
pub(super) fn await_writable(events: &FuturesUnordered<Later>, slot: usize, writer: &Writer) {
    let socket = Arc::clone(&writer.socket);
    let generation = writer.generation;
    events.push(Box::pin(async move {
        // An error shows at the next write.
        let _ = socket.writable().await;
        Event::Writable { slot, generation }
    }));
}
