//! The reader: a position that moves forward on behalf of one connection.

use rejoin_protocol::{Position, Verdict};
use tokio::time::Instant;

use crate::{
    stream::{
        Batch, GapNotice, Holders, LagPolicy, ReadLimit, Seq, SlowReaderPolicy, State, Stream,
        ring::{Place, Ring},
    },
    wire::Frame,
};

/// Why frames after a position are gone: retention has dropped them.
const REASON_RETENTION: &str = "retention";
/// Why frames are skipped: the reader was slow, and only the newest counts.
const REASON_LATEST: &str = "latest";
/// Why frames after a position are gone: the position is from another life of the stream.
const REASON_EPOCH: &str = "epoch";
/// Why a position means nothing: no frame begins or ends there.
const REASON_UNKNOWN: &str = "unknown_position";

/// The next frame that one connection gets of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The number of that frame.
    pub next: Seq,
}

/// What a reading found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing new.
    UpToDate,
    /// There is nothing new, and never will be.
    Finished,
    /// The batch holds the next frames.
    Frames,
    /// The next frames were dropped; reading may go on at `oldest`.
    Behind {
        /// The oldest frame that is left.
        oldest: Seq,
        /// What is told to the reader if it goes on there.
        notice: GapNotice,
    },
}

/// Where a reader begins, and what is told and given to it before its first frame.
#[derive(Clone, Debug)]
pub struct Start {
    /// How it went.
    pub verdict: Verdict,
    /// How many frames follow that were there before.
    pub replayed: u64,
    /// With a gap: how many units are gone, if that can be known.
    pub missed: Option<u64>,
    /// With a gap or a snapshot instead of a resume: why.
    pub reason: Option<&'static str>,
    /// Where reading begins.
    pub position: Position,
    /// Messages that give the state at the position.
    pub preamble: Vec<Frame>,
    /// Lines of a terminal's history, the oldest ones, that are not in the state.
    pub history_omitted: u64,
    /// The connections that were given the same preamble.
    pub holders: Holders,
    /// The reader, at the position.
    pub reader: Reader,
}

struct Gone {
    missed: Option<u64>,
    reason: &'static str,
}

impl Stream {
    /// Decides where a reader begins that comes with `position`, or fresh without one.
    ///
    /// Verdict, preamble and reader come from one turn of whoever owns the state, so that
    /// nothing is missed or repeated. `None` if the owner is no more.
    pub async fn start(&self, position: Option<Position>) -> Option<Start> {
        let gone = match position {
            None => None,
            Some(position) => match self.resume(position) {
                Ok(start) => return Some(start),
                Err(gone) => Some(gone),
            },
        };
        match self.lag_policy() {
            LagPolicy::Gap { .. } => Some(self.start_without_state(gone)),
            LagPolicy::Snapshot(source) => {
                let snapshot = source.snapshot().await?;
                let verdict = if gone.is_some() { Verdict::Snapshot } else { Verdict::Fresh };
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

    /// The same for a stream without a state, which needs to wait for nobody.
    pub fn start_now(&self, position: Option<Position>) -> Start {
        match position.map(|position| self.resume(position)) {
            None => self.start_without_state(None),
            Some(Ok(start)) => start,
            Some(Err(gone)) => self.start_without_state(Some(gone)),
        }
    }

    /// Takes the reader's next frames.
    pub fn read(&self, reader: Reader, limit: ReadLimit, batch: &mut Batch) -> Progress {
        self.progress(&self.shared.state.lock(), reader.next, limit, batch)
    }

    /// Where a reader goes on whose connection took nothing for a while, and what it is told of
    /// what it skips; `None` if it just goes on.
    #[must_use]
    pub fn skip(&self, reader: Reader) -> Option<(Reader, GapNotice)> {
        let LagPolicy::Gap { policy: SlowReaderPolicy::Latest, .. } = self.lag_policy() else {
            return None;
        };
        let ring = &self.shared.state.lock().ring;
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
        if !ring.read(from, limit, batch) {
            let oldest = ring.oldest();
            let notice = GapNotice {
                missed: oldest - from,
                reason: REASON_RETENTION,
                position: self.position(ring.offset_of(oldest)),
            };
            return Progress::Behind { oldest, notice };
        }
        match (batch.frames.is_empty(), state.finished) {
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
        state.ring.begin(Instant::now());
        match state.ring.locate(position.offset) {
            Place::At(next) => Ok(Start {
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
            Place::Gone { missed: Some(missed) } => {
                Err(Gone { missed: Some(missed), reason: REASON_RETENTION })
            }
            Place::Gone { missed: None } => Err(Gone { missed: None, reason: REASON_UNKNOWN }),
        }
    }

    fn start_without_state(&self, gone: Option<Gone>) -> Start {
        let mut state = self.shared.state.lock();
        state.ring.begin(Instant::now());
        let ring: &Ring = &state.ring;
        // After a gap all that is left is new to the reader; a fresh one begins here.
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
