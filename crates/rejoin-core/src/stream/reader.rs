//! The reader: a cursor into a stream on behalf of one connection.

use rejoin_protocol::{Position, Verdict};
use tokio::time::Instant;

use crate::{
    frame::Frame,
    stream::{
        Batch, GapNotice, Holders, LagPolicy, ReadLimit, Seq, SlowReaderPolicy, State, Stream,
        ring::Location,
    },
};

/// Retention dropped the frames after the position.
const REASON_RETENTION: &str = "retention";
/// The reader was slow and skipped to the newest frame.
const REASON_LATEST: &str = "latest";
/// The position has the epoch of another life of the stream.
const REASON_EPOCH: &str = "epoch";
/// No frame begins at the position.
const REASON_UNKNOWN: &str = "unknown_position";

/// A cursor into a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The next frame to read.
    pub next: Seq,
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The reader has read all frames.
    UpToDate,
    /// The reader has read all frames, and the stream is finished.
    Finished,
    /// The batch holds the next frames.
    Frames,
    /// The next frames were dropped; the reader may continue at `oldest`.
    Behind {
        /// The oldest retained frame.
        oldest: Seq,
        /// The notice for a reader that continues there.
        notice: GapNotice,
    },
}

/// The start of a reader: the verdict, the reader, and the messages before its first frame.
#[derive(Clone, Debug)]
pub struct Start {
    /// The answer to the client.
    pub verdict: Verdict,
    /// The number of retained frames that follow.
    pub replayed: u64,
    /// After a gap: the number of missed units, if it is known.
    pub missed: Option<u64>,
    /// The reason for a gap or a snapshot instead of a resume.
    pub reason: Option<&'static str>,
    /// The position of the reader.
    pub position: Position,
    /// Messages that give the state at the position.
    pub preamble: Vec<Frame>,
    /// The number of a terminal's oldest history lines that are not in the state.
    pub history_omitted: u64,
    /// The connections that received the same preamble.
    pub holders: Holders,
    /// The reader.
    pub reader: Reader,
}

/// A position that cannot be resumed.
struct Gone {
    missed: Option<u64>,
    reason: &'static str,
}

impl Stream {
    /// Starts a reader at `position`, or at the present without one.
    ///
    /// Verdict, preamble and reader come from one turn of the state's owner, so nothing is missed
    /// or repeated. Returns `None` if the owner has ended. Cancel safe.
    pub async fn start(&self, position: Option<Position>) -> Option<Start> {
        let gone = match position {
            None => None,
            Some(position) => match self.resume(position) {
                Ok(start) => return Some(start),
                Err(gone) => Some(gone),
            },
        };

        match self.lag_policy() {
            LagPolicy::Gap { .. } => Some(self.start_without_snapshot(gone)),
            LagPolicy::Snapshot(source) => {
                let snapshot = source.snapshot().await?;
                let verdict = if gone.is_some() { Verdict::Snapshot } else { Verdict::Fresh };
                // Frames appended since the snapshot follow it.
                let (head, _) = self.next();
                Some(Start {
                    verdict,
                    replayed: head - snapshot.seq,
                    missed: None,
                    reason: gone.map(|gone| gone.reason),
                    position: snapshot.position,
                    preamble: snapshot.messages,
                    history_omitted: snapshot.history_omitted,
                    holders: snapshot.holders,
                    reader: Reader { next: snapshot.seq },
                })
            }
        }
    }

    /// Starts a reader of a stream without snapshots. Never blocks.
    pub fn start_now(&self, position: Option<Position>) -> Start {
        match position.map(|position| self.resume(position)) {
            None => self.start_without_snapshot(None),
            Some(Ok(start)) => start,
            Some(Err(gone)) => self.start_without_snapshot(Some(gone)),
        }
    }

    /// Reads the next frames into `batch`.
    pub fn read(&self, reader: Reader, limit: ReadLimit, batch: &mut Batch) -> Progress {
        self.progress(&self.shared.state.lock(), reader.next, limit, batch)
    }

    /// Returns the size of the frames that a reader has not read, in bytes. Dropped frames are not
    /// counted.
    #[must_use]
    pub fn bytes_ahead_of(&self, reader: Reader) -> u64 {
        self.shared.state.lock().ring.bytes_from(reader.next)
    }

    /// Skips a slow reader to the newest frame, under [`SlowReaderPolicy::Latest`].
    ///
    /// Returns the new reader and the gap to report; `None` if the reader skips nothing.
    #[must_use]
    pub fn skip(&self, reader: Reader) -> Option<(Reader, GapNotice)> {
        let LagPolicy::Gap { policy: SlowReaderPolicy::Latest, .. } = self.lag_policy() else {
            return None;
        };

        let ring = &self.shared.state.lock().ring;

        // In an empty ring this is the head, and the reader skips nothing.
        let newest = ring.head().saturating_sub(1).max(ring.oldest());
        let missed = newest.checked_sub(reader.next).filter(|missed| *missed > 0)?;
        let position = self.position(ring.offset_of(newest));
        Some((Reader { next: newest }, GapNotice { missed, reason: REASON_LATEST, position }))
    }

    pub(super) fn progress(
        &self,
        state: &State,
        from: Seq,
        limit: ReadLimit,
        batch: &mut Batch,
    ) -> Progress {
        let ring = &state.ring;
        // The first frame has left the ring. The caller applies the stream's policy for slow readers.
        if !ring.read(from, limit, batch) {
            let oldest = ring.oldest();
            let notice = GapNotice {
                missed: oldest - from,
                reason: REASON_RETENTION,
                position: self.position(ring.offset_of(oldest)),
            };
            return Progress::Behind { oldest, notice };
        }

        match (batch.frames.is_empty(), state.is_finished) {
            (false, _) => Progress::Frames,
            (true, false) => Progress::UpToDate,
            (true, true) => Progress::Finished,
        }
    }

    fn resume(&self, position: Position) -> Result<Start, Gone> {
        if position.epoch != self.shared.epoch {
            return Err(Gone { missed: None, reason: REASON_EPOCH });
        }

        let mut state = self.shared.state.lock();
        let now = Instant::now();

        // First: a reader must not start at a frame that is too old.
        state.ring.expire(now);
        state.ring.touch(now);

        match state.ring.locate(position.offset) {
            Location::At(next) => Ok(Start {
                verdict: Verdict::Resumed,
                replayed: state.ring.head() - next,
                missed: None,
                reason: None,
                position,
                preamble: Vec::new(),
                history_omitted: 0,
                holders: Holders::default(),
                reader: Reader { next },
            }),
            Location::Gone { missed: Some(missed) } => {
                Err(Gone { missed: Some(missed), reason: REASON_RETENTION })
            }
            Location::Gone { missed: None } => Err(Gone { missed: None, reason: REASON_UNKNOWN }),
        }
    }

    fn start_without_snapshot(&self, gone: Option<Gone>) -> Start {
        let mut state = self.shared.state.lock();
        let now = Instant::now();
        state.ring.expire(now);
        state.ring.touch(now);

        // After a gap every retained frame is new to the reader. A fresh reader starts at the head.
        let ring = &state.ring;
        let next = if gone.is_some() { ring.oldest() } else { ring.head() };
        Start {
            verdict: if gone.is_some() { Verdict::Gap } else { Verdict::Fresh },
            replayed: ring.head() - next,
            missed: gone.as_ref().and_then(|gone| gone.missed),
            reason: gone.map(|gone| gone.reason),
            position: self.position(ring.offset_of(next)),
            preamble: Vec::new(),
            history_omitted: 0,
            holders: Holders::default(),
            reader: Reader { next },
        }
    }
}
