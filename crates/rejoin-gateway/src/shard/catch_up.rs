//! Catching up: sends frames to those readers of a connection that are behind their streams.

use std::{io, sync::Arc};

use rejoin_core::{FrameEncoding, LagPolicy, Progress, SlowReaderPolicy};
use rejoin_protocol::CloseCode;
use tracing::debug;

use crate::{
    metrics::DropReason,
    shard::{Shard, batch::LIMIT, connection::Phase, inbox::Command},
};

/// The number of batches that a reader may write per pass while it catches up.
const CATCH_UP_BATCHES: usize = 2;
/// The number of unread bytes above which a reader with a window skips to a snapshot: the size of
/// the largest window, so that a client that does not skip has at most that much left to parse.
const MAX_BACKLOG_BYTES: u64 = 256 * 1024;

/// The result of one reader's turn to catch up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CatchUp {
    /// The reader has read all frames.
    UpToDate,
    /// The reader waits for its socket or for a snapshot.
    Waiting,
    /// The turn is used up, and frames are left.
    TurnOver,
    /// The reader's next frame is gone, and its topic's policy is to disconnect slow readers.
    TooSlow,
    /// The stream is finished and was read to its end, so a raw connection has nothing left to do.
    Finished,
}

impl Shard {
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
        // ring. Pending replies must therefore be written first.
        let count = connection.output.flush(&mut self.scratch)?;
        self.metrics.bytes_sent.inc_by(count as u64);
        if connection.output.take_was_blocked() {
            for index in 0..connection.reads().len() {
                self.skip_to_latest(slot, index)?;
            }
        }

        // Iterates by index: a turn may close the connection or change its list of readers.
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

    /// Lets the reader at `index` in the connection's list catch up for one turn.
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
            // A closing connection waits neither for a snapshot nor for acknowledgements.
            let is_open = matches!(connection.phase, Phase::Open(_));
            let waiting = if is_open { CatchUp::Waiting } else { CatchUp::UpToDate };
            if entry.awaits_snapshot {
                return Ok(waiting);
            }

            let output = &mut connection.output;
            let encoding = output.encoding();
            match stream.read(entry.reader, LIMIT, &mut self.joined.batch) {
                Progress::Finished if encoding == FrameEncoding::Raw => {
                    return Ok(CatchUp::Finished);
                }
                Progress::UpToDate | Progress::Finished => return Ok(CatchUp::UpToDate),
                Progress::Frames => {
                    let from = entry.reader.next;
                    if entry.window.is_limited() {
                        if stream.bytes_ahead_of(entry.reader) > MAX_BACKLOG_BYTES {
                            return Ok(self.skip_to_snapshot(slot, index));
                        }

                        self.joined.truncate(entry.window.fit(self.joined.frames_from(from)));
                        if self.joined.frames_from(from).is_empty() {
                            return Ok(waiting);
                        }
                    }

                    self.joined.clear_layouts();
                    let written = output.write(self.joined.bytes_from(encoding, from))?;
                    let (next, rest) = self.joined.after_write(encoding, from, written);
                    entry.reader.next = next;
                    let unsent = self.joined.binary_bytes_from(next);
                    entry.window.record_sent(self.joined.binary_bytes_from(from) - unsent);
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
                    LagPolicy::Snapshot(_) => return Ok(self.skip_to_snapshot(slot, index)),
                },
            }
        }

        Ok(CatchUp::TurnOver)
    }

    /// Requests a snapshot for a reader if its window has room for one.
    fn skip_to_snapshot(&mut self, slot: usize, index: usize) -> CatchUp {
        let Some(connection) = self.connections.get_mut(slot) else { return CatchUp::UpToDate };

        let (number, entry_index) = connection.reads()[index];
        let readers = self.streams.get_mut(&number).expect("a stream with a reader is registered");
        let (stream, entry) = (readers.follower.stream(), &mut readers.entries[entry_index]);
        let LagPolicy::Snapshot(source) = stream.lag_policy() else { return CatchUp::UpToDate };

        // A closing connection waits neither for a snapshot nor for acknowledgements.
        let Some(client) = connection.client() else { return CatchUp::UpToDate };
        if !entry.window.is_half_free() {
            return CatchUp::Waiting;
        }

        debug!(slot, stream = %number, from = entry.reader.next, "reader skips to a snapshot");
        entry.awaits_snapshot = true;

        let (snapshot, outbox) = (source.snapshot(), Arc::clone(client.outbox()));
        let shard = self.handle.clone();
        self.context.gateway.shutdown.spawn(async move {
            let snapshot = snapshot.await;
            let holders = snapshot.as_ref().map(|it| it.holders.clone());
            shard.send(Command::Snapshot(outbox.clone(), number, snapshot));
            // A holder keeps the snapshot in memory. The owner must know the holders, because it
            // closes those that do not read old snapshots.
            if let Some(holders) = holders {
                holders.add(&outbox);
            }
        });

        CatchUp::Waiting
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
