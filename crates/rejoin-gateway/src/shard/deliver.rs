//! Frames to sockets: the broadcast to those who are up to date, the catching up of the others.

use std::{
    io, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use rejoin_core::{Item, Lag, Progress};
use rejoin_protocol::{
    CloseCode, StreamNumber,
    message::{Closing, ServerMessage, text},
};
use tracing::{debug, warn};

use crate::shard::{
    batch::{Joined, LIMIT},
    form,
    run::{Event, Later, Run},
    writer::Writer,
};

/// Sockets that are written before others on the same thread get a turn.
const TURN_SOCKETS: usize = 128;
/// Batches that one connection catches up before the next one gets its turn.
const CATCH_UP_BATCHES: usize = 2;
/// A broadcast that takes longer is logged (A2).
const SLOW_BROADCAST: Duration = Duration::from_millis(100);
/// Over which time clients of a stopping server come back, in milliseconds.
const DRAIN_WINDOW_MS: u64 = 5_000;

impl Run {
    /// Gives a stream's next frames to all of its readers that are up to date.
    pub(super) async fn broadcast(&mut self, number: StreamNumber) {
        let Some(readers) = self.streams.get_mut(&number) else { return };
        let mut joined = mem::take(&mut self.joined);
        match readers.follower.take(readers.cursor, LIMIT, &mut joined.batch) {
            Progress::UpToDate => {}
            Progress::Behind { oldest, .. } => {
                // Appends that waited for nobody outran the shard: each reader is told by itself.
                readers.cursor = oldest;
                self.behind.extend(readers.entries.iter().map(|entry| entry.slot));
                self.advanced.push_back(number);
            }
            Progress::Frames => {
                joined.renew();
                let begun = Instant::now();
                let mut index = 0;
                let mut failed = Vec::new();
                while self.broadcast_turn(number, &mut joined, &mut index, &mut failed) {
                    tokio::task::yield_now().await;
                }
                let took = begun.elapsed();
                if took > SLOW_BROADCAST {
                    let frames = joined.batch.frames.len();
                    warn!(stream = %number, frames, readers = index, ?took, "slow broadcast");
                }
                if let Some(readers) = self.streams.get_mut(&number) {
                    readers.cursor = joined.batch.end();
                    self.advanced.push_back(number);
                }
                // Not before all were visited: a removal moves another reader to its place.
                for (slot, error) in failed {
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
        index: &mut usize,
        failed: &mut Vec<(usize, io::Error)>,
    ) -> bool {
        let end = joined.batch.end();
        let Some(readers) = self.streams.get_mut(&number) else { return false };
        let stop = (*index + TURN_SOCKETS).min(readers.entries.len());
        for entry in &mut readers.entries[*index..stop] {
            let from = entry.reader.next;
            let Some(writer) = self.writers[entry.slot].as_mut() else { continue };
            if entry.waits || !writer.is_clear() || from < joined.batch.first || from >= end {
                // It catches up when its socket, its snapshot or its turn comes.
                continue;
            }
            let bytes = joined.bytes_from(writer.form, from);
            match writer.write(bytes) {
                Ok(written) if written == bytes.len() => entry.reader.next = end,
                Ok(written) => {
                    let (next, rest) = joined.after(writer.form, from, written);
                    entry.reader.next = next;
                    writer.pending.extend(rest);
                    await_writable(&self.events, entry.slot, writer);
                }
                Err(error) => failed.push((entry.slot, error)),
            }
        }
        *index = stop;
        stop < readers.entries.len()
    }

    /// Does what waits for a connection: what is pending, its outbox, its streams.
    pub(super) fn serve(&mut self, slot: usize) {
        let Some(Some(writer)) = self.writers.get_mut(slot) else { return };
        if writer.blocked {
            if !writer.closing && writer.outbox.is_closed() {
                writer.closing = true;
                self.grace(slot);
            }
            return;
        }
        if let Err(error) = self.try_serve(slot) {
            self.fail(slot, &error);
            return;
        }
        let Some(Some(writer)) = self.writers.get_mut(slot) else { return };
        if writer.blocked {
            await_writable(&self.events, slot, writer);
            if writer.closing {
                self.grace(slot);
            }
        } else if writer.closing && writer.pending.is_empty() && writer.outbox.is_empty() {
            self.remove(slot);
        }
    }

    fn try_serve(&mut self, slot: usize) -> io::Result<()> {
        loop {
            let Some(Some(writer)) = self.writers.get_mut(slot) else { return Ok(()) };
            writer.write_pending()?;
            if writer.blocked {
                return Ok(());
            }
            match writer.outbox.pop() {
                Some(Item::Message(bytes)) => {
                    writer.pending.extend(form::of_reply(bytes, writer.form));
                }
                Some(Item::Read { stream, preamble, reader }) => {
                    writer.put(preamble);
                    self.add_reader(slot, &stream, reader);
                }
                Some(Item::Unread(stream)) => self.remove_reader(slot, stream),
                Some(Item::Close(code)) => {
                    writer.closing = true;
                    let words = last_words(code);
                    let form = writer.form;
                    writer.pending.extend(words.filter_map(|word| form::of_reply(word, form)));
                }
                None => break,
            }
        }
        let Some(Some(writer)) = self.writers.get(slot) else { return Ok(()) };
        if !writer.closing {
            for index in 0..writer.reads.len() {
                self.catch_up(slot, index)?;
            }
        }
        Ok(())
    }

    /// Brings one reader up to date, as far as its turn and its socket allow.
    fn catch_up(&mut self, slot: usize, index: usize) -> io::Result<()> {
        for _ in 0..CATCH_UP_BATCHES {
            let Some(Some(writer)) = self.writers.get_mut(slot) else { return Ok(()) };
            if !writer.is_clear() {
                return Ok(());
            }
            let (number, place) = writer.reads[index];
            let readers = self.streams.get_mut(&number).expect("a stream that is read is there");
            let stream = readers.follower.stream();
            let entry = &mut readers.entries[place];
            if entry.waits {
                return Ok(());
            }
            match stream.read(entry.reader, LIMIT, &mut self.joined.batch) {
                Progress::UpToDate => return Ok(()),
                Progress::Frames => {
                    self.joined.renew();
                    let (form, from) = (writer.form, entry.reader.next);
                    let written = writer.write(self.joined.bytes_from(form, from))?;
                    let (next, rest) = self.joined.after(form, from, written);
                    entry.reader.next = next;
                    writer.pending.extend(rest);
                }
                Progress::Behind { oldest, notice } => match stream.lag() {
                    Lag::Gap(encode) => {
                        debug!(slot, stream = %number, missed = notice.missed, "reader behind");
                        writer.pending.extend(form::of_reply(encode(notice), writer.form));
                        writer.write_pending()?;
                        entry.reader.next = oldest;
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
                        return Ok(());
                    }
                },
            }
        }
        self.behind.push_back(slot);
        Ok(())
    }
}

/// Asks to be told when the socket takes more.
fn await_writable(events: &FuturesUnordered<Later>, slot: usize, writer: &Writer) {
    let socket = Arc::clone(&writer.socket);
    let generation = writer.generation;
    events.push(Box::pin(async move {
        // An error shows at the next write.
        let _ = socket.writable().await;
        Event::Writable { slot, generation }
    }));
}

/// What is said before the socket is closed.
fn last_words(code: CloseCode) -> impl Iterator<Item = Bytes> {
    // Codes below 4000 are the WebSocket's own: the peer broke it, or said goodbye itself.
    let announced = code.code() >= 4000;
    let closing = announced.then(|| {
        let closing = text(None, &ServerMessage::Closing(Closing::new(code, DRAIN_WINDOW_MS)));
        rejoin_websocket::encode(rejoin_websocket::Kind::Text, &[closing.as_bytes()])
    });
    closing.into_iter().chain([rejoin_websocket::close(code.code(), code.row().name)])
}
