//! The stream: an optional snapshot plus numbered frames with bounded retention.
//!
//! Producers append; shards follow, and read for their connections. A stream never knows its
//! readers: it tells each follower once that it advanced, and no more until that one took it.

mod budget;
mod follower;
mod holders;
mod reader;
mod ring;

use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use rejoin_protocol::{Position, StreamNumber};
use tokio::{sync::Notify, time::Instant};

pub(crate) use budget::Budget;
pub use follower::Follower;
pub use holders::Holders;
pub use reader::{Progress, Reader, Start};
pub use ring::{Batch, ReadLimit};

use crate::{
    backend::BoxFuture,
    saved::{SavedStream, StreamOwner},
    stream::{follower::Followers, ring::Ring},
    wire::{Encode, Frame, PayloadKind},
};

/// The number of a frame in its stream's life, from 0.
pub type Seq = u64;

/// How much a stream keeps; what exceeds any of the bounds is dropped from the old end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Frames at most.
    pub frames: NonZeroUsize,
    /// Bytes at most, as they were encoded; the newest frame stays, however large.
    pub bytes: NonZeroUsize,
    /// Age at most; `None`: no bound.
    pub age: Option<Duration>,
}

/// The state that a stream's frames lead to, in one turn of its owner.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Messages that give the state to a reader, encoded.
    pub messages: Vec<Frame>,
    /// The first frame that is not in the state.
    pub seq: Seq,
    /// Where that frame begins.
    pub position: Position,
    /// Lines of a terminal's history, the oldest ones, that are not in the state.
    pub history_omitted: u64,
    /// The connections that it was given to.
    pub holders: Holders,
}

/// Whoever owns the state behind a stream.
pub trait SnapshotSource: fmt::Debug + Send + Sync {
    /// The state now; `None` if there is none any more.
    fn snapshot(&self) -> BoxFuture<'static, Option<Snapshot>>;
}

/// Frames that were dropped before a reader came to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapNotice {
    /// How many.
    pub missed: u64,
    /// Why, as the wire tells it.
    pub reason: &'static str,
    /// Where the reader goes on.
    pub position: Position,
}

/// Lays out a notice as one message for the wire.
pub type EncodeGap = Arc<dyn Fn(GapNotice) -> Bytes + Send + Sync>;

/// What happens to a reader of a stream without a state whose connection takes too little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowReaderPolicy {
    /// It gets all that is left; of the rest it is told how much it was.
    #[default]
    CatchUp,
    /// It gets the newest frame; of those before it is told how many they were.
    Latest,
    /// It is let go as soon as its next frame is gone.
    Disconnect,
}

/// What a reader gets that fell behind.
#[derive(Clone)]
pub enum LagPolicy {
    /// A notice that says how many frames are gone, then what its policy leaves to it.
    Gap {
        /// Whether it gets what is left.
        policy: SlowReaderPolicy,
        /// The notice, for the wire.
        encode: EncodeGap,
    },
    /// The state, then what comes after it.
    Snapshot(Arc<dyn SnapshotSource>),
}

impl fmt::Debug for LagPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { policy, .. } => f.debug_tuple("Gap").field(policy).finish(),
            Self::Snapshot(_) => f.write_str("Snapshot"),
        }
    }
}

/// What a stream is made from.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// Its number on the wire.
    pub number: StreamNumber,
    /// How much it keeps.
    pub retention: Retention,
    /// What a reader gets that fell behind.
    pub lag: LagPolicy,
    /// How frames are laid out.
    pub encode: Encode,
}

/// A handle to a stream.
#[derive(Clone)]
pub struct Stream {
    shared: Arc<Shared>,
}

struct Shared {
    number: StreamNumber,
    epoch: u64,
    lag: LagPolicy,
    encode: Encode,
    /// Held for a push, a look-up or a copy of handles; never while anybody waits.
    state: Mutex<State>,
    /// Told when a follower took frames while a producer waited for that.
    room: Notify,
}

struct State {
    ring: Ring,
    /// Nothing more comes.
    finished: bool,
    followers: Followers,
    waiting_producers: usize,
}

impl Stream {
    /// A stream at the beginning of a new life.
    #[must_use]
    pub fn new(config: StreamConfig) -> Self {
        let epoch = getrandom::u64().expect("the operating system has randomness");
        Self::build(config, epoch, None)
    }

    /// The same, whose frames count towards a budget that it shares with other streams.
    pub(crate) fn with_budget(config: StreamConfig, budget: Arc<Budget>) -> Self {
        let epoch = getrandom::u64().expect("the operating system has randomness");
        Self::build(config, epoch, Some(budget))
    }

    /// The same at the beginning of a life that the caller names; no other may have this name.
    pub(crate) fn with_epoch(config: StreamConfig, epoch: u64, budget: Arc<Budget>) -> Self {
        Self::build(config, epoch, Some(budget))
    }

    fn build(config: StreamConfig, epoch: u64, budget: Option<Arc<Budget>>) -> Self {
        let state = State {
            ring: Ring::new(config.retention, budget.clone()),
            finished: false,
            followers: Followers::default(),
            waiting_producers: 0,
        };
        let shared = Shared {
            number: config.number,
            epoch,
            lag: config.lag,
            encode: config.encode,
            state: Mutex::new(state),
            room: Notify::new(),
        };
        let shared = Arc::new(shared);
        if let Some(budget) = budget {
            budget.share(&shared);
        }
        Self { shared }
    }

    /// A stream whose life goes on that another process began.
    pub(crate) fn restored(
        config: StreamConfig,
        saved: &SavedStream,
        budget: Option<Arc<Budget>>,
    ) -> Self {
        let stream = Self::build(config, saved.epoch, budget);
        stream.shared.state.lock().ring.restore(saved);
        stream
    }

    /// What another process needs to go on. Each frame must be of one unit.
    pub(crate) fn save(&self, owner: StreamOwner) -> SavedStream {
        let state = self.shared.state.lock();
        let (head, quiet_ms, frames) = state.ring.save();
        SavedStream { owner, epoch: self.shared.epoch, head, quiet_ms, frames }
    }

    /// Its number on the wire.
    #[must_use]
    pub fn number(&self) -> StreamNumber {
        self.shared.number
    }

    /// The position after the last frame.
    #[must_use]
    pub fn head(&self) -> Position {
        self.position(self.shared.state.lock().ring.head_offset())
    }

    /// What a reader gets that falls behind.
    #[must_use]
    pub fn lag(&self) -> &LagPolicy {
        &self.shared.lag
    }

    /// Appends a frame of `units` whose payload is `parts`, without waiting for anybody.
    ///
    /// Returns the position after it. A frame of no units stands at the same position as the
    /// next one, so a reader that resumes there gets it again: it must say what is, not what
    /// changed. For what must not wait, or has waited with [`room`](Self::room).
    pub fn append(&self, kind: PayloadKind, units: u64, parts: &[&[u8]]) -> Position {
        let frame = (self.shared.encode)(kind, parts).into();
        let mut state = self.shared.state.lock();
        state.push(frame, units, self.shared.number);
        self.position(state.ring.head_offset())
    }

    /// Appends a text frame of one unit that holds its own position, as soon as there is room.
    ///
    /// `text` is called when there is room, immediately before the append. Cancel safe: the frame
    /// is appended or not.
    ///
    /// # Errors
    /// The error of `text`; nothing is appended.
    pub async fn publish<E>(
        &self,
        text: impl Fn(Position) -> Result<String, E>,
    ) -> Result<Position, E> {
        // Most of the time there is room, and nothing to wait for.
        let mut waiting = match self.try_publish(&text) {
            Ok(result) => return result,
            Err(waiting) => waiting,
        };
        loop {
            // Made before the next try, so that no notification is missed in between.
            let room = self.shared.room.notified();
            drop(waiting);
            waiting = match self.try_publish(&text) {
                Ok(result) => return result,
                Err(waiting) => waiting,
            };
            room.await;
        }
    }

    /// Completes when the followers took enough that a producer may go on. Cancel safe: yes.
    ///
    /// The server's own fan-out paces a producer; a reader never does.
    pub async fn room(&self) {
        loop {
            let room = self.shared.room.notified();
            let Some(waiting) = Waiting::unless_room(self, &mut self.shared.state.lock()) else {
                return;
            };
            room.await;
            drop(waiting);
        }
    }

    /// Says that nothing will be appended any more: a reader that has read all has finished.
    pub fn finish(&self) {
        let mut state = self.shared.state.lock();
        state.finished = true;
        state.followers.tell(self.shared.number);
    }

    /// Drops what is older than the retention allows; returns for how long nobody has used it, if
    /// nothing is left and nobody follows.
    pub fn expire(&self) -> Option<Duration> {
        let mut state = self.shared.state.lock();
        let now = Instant::now();
        state.ring.expire(now);
        (state.ring.is_empty() && state.followers.is_empty()).then(|| state.ring.quiet_for(now))
    }

    /// How many frames it holds, and how long ago the last one came, or it was made.
    #[must_use]
    pub fn retained(&self) -> (usize, Duration) {
        let mut state = self.shared.state.lock();
        let now = Instant::now();
        state.ring.expire(now);
        (state.ring.len(), state.ring.quiet_for(now))
    }

    /// The frame number and position that come next, both from one turn.
    #[must_use]
    pub fn next(&self) -> (Seq, Position) {
        let state = self.shared.state.lock();
        (state.ring.head(), self.position(state.ring.head_offset()))
    }

    /// Whether nobody else holds this stream.
    pub(crate) fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }

    /// The oldest frame that is still there, or the next one.
    #[must_use]
    pub fn oldest(&self) -> Seq {
        self.shared.state.lock().ring.oldest()
    }

    fn try_publish<E>(
        &self,
        text: &impl Fn(Position) -> Result<String, E>,
    ) -> Result<Result<Position, E>, Waiting<'_>> {
        let mut state = self.shared.state.lock();
        if let Some(waiting) = Waiting::unless_room(self, &mut state) {
            return Err(waiting);
        }
        let position = self.position(state.ring.head_offset() + 1);
        let text = match text(position) {
            Ok(text) => text,
            Err(error) => return Ok(Err(error)),
        };
        let frame = (self.shared.encode)(PayloadKind::Text, &[text.as_bytes()]).into();
        state.push(frame, 1, self.shared.number);
        let exceeded = state.ring.exceeded_budget();
        drop(state);
        if let Some(budget) = exceeded {
            budget.relieve(&self.shared);
        }
        Ok(Ok(position))
    }

    fn position(&self, offset: u64) -> Position {
        Position { epoch: self.shared.epoch, offset }
    }
}

impl State {
    fn push(&mut self, frame: Frame, units: u64, number: StreamNumber) {
        debug_assert!(!self.finished, "nothing is appended to a finished stream");
        self.ring.push(frame, units, Instant::now());
        self.followers.tell(number);
    }

    fn has_room(&self) -> bool {
        self.followers.slowest().is_none_or(|taken| self.ring.has_room(taken))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("number", &self.shared.number).finish_non_exhaustive()
    }
}

/// A producer that waits for room; followers tell only if there is one.
struct Waiting<'a> {
    stream: &'a Stream,
}

impl<'a> Waiting<'a> {
    /// Looks and registers in one turn, so that no follower tells in between.
    fn unless_room(stream: &'a Stream, state: &mut State) -> Option<Self> {
        if state.has_room() {
            return None;
        }
        state.waiting_producers += 1;
        Some(Self { stream })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.stream.shared.state.lock().waiting_producers -= 1;
    }
}
