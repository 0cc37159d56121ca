//! The stream: numbered frames with bounded retention, and an optional snapshot.
//!
//! Producers append. Shards follow, and read for their connections. A stream does not know its
//! readers: it notifies each follower once that it advanced, and again only after the follower
//! has taken all frames.

mod budget;
mod follower;
mod holders;
mod publish;
mod reader;
mod reserve;
mod ring;

use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rejoin_protocol::{Position, StreamNumber};
use tokio::{sync::Notify, time::Instant};

pub(crate) use budget::Budget;
pub use follower::Follower;
pub use holders::{Holders, SnapshotHolder};
pub use reader::{Progress, Reader, Start};
pub(crate) use reserve::Reservation;
pub use ring::{Batch, ReadLimit};

use crate::{
    frame::{Encode, Frame, PayloadKind},
    lock::{Mutex, level::STREAM},
    saved::SavedStream,
    stream::{follower::Followers, reserve::Reserved, ring::Ring},
};

/// The number of a frame in its stream; 0 for the first.
pub type Seq = u64;

/// The bounds of a stream's retention. Above any of them the oldest frames are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The maximum number of frames.
    pub frames: NonZeroUsize,
    /// The maximum size of the encoded frames. The newest frame is kept, however large.
    pub bytes: NonZeroUsize,
    /// The maximum age; `None`: no bound.
    pub age: Option<Duration>,
}

/// The state that a stream's frames lead to, taken in one turn of its owner.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Encoded messages that give a reader the state.
    pub messages: Vec<Frame>,
    /// The first frame that is not in the state.
    pub seq: Seq,
    /// The position of that frame.
    pub position: Position,
    /// The number of a terminal's oldest history lines that are not in the state.
    pub history_omitted: u64,
    /// The connections that received the snapshot.
    pub holders: Holders,
}

/// The owner of the state behind a stream.
pub trait SnapshotSource: fmt::Debug + Send + Sync {
    /// Returns the current state; `None` once the owner has ended without one.
    fn snapshot(&self) -> BoxFuture<'static, Option<Snapshot>>;
}

/// Frames that a reader does not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapNotice {
    /// The number of missed frames.
    pub missed: u64,
    /// The reason, as it is sent to the client.
    pub reason: &'static str,
    /// The position at which the reader continues.
    pub position: Position,
}

/// Encodes a notice as one message.
pub type EncodeGap = Arc<dyn Fn(GapNotice) -> Bytes + Send + Sync>;

/// The policy for slow readers of a stream without snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowReaderPolicy {
    /// The reader gets all retained frames, and a notice with the number of missed ones.
    #[default]
    CatchUp,
    /// The reader gets the newest frame, and a notice with the number of skipped ones.
    Latest,
    /// The connection is closed as soon as the reader's next frame is dropped.
    Disconnect,
}

/// The policy for a reader whose next frame was dropped.
#[derive(Clone)]
pub enum LagPolicy {
    /// The reader gets a notice, then the frames that its policy allows.
    Gap {
        /// The policy.
        policy: SlowReaderPolicy,
        /// Encodes the notice.
        encode: EncodeGap,
    },
    /// The reader gets a snapshot, then the frames after it.
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

/// The parameters of a stream.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// The stream's number on the wire.
    pub number: StreamNumber,
    /// The retention.
    pub retention: Retention,
    /// The policy for readers that fall behind.
    pub lag: LagPolicy,
    /// Encodes the frames.
    pub encode: Encode,
}

/// A handle to a stream.
///
/// ```
/// use std::{num::NonZeroUsize, sync::Arc, time::Duration};
///
/// use rejoin_core::{
///     Batch, Frame, LagPolicy, PayloadKind, Progress, ReadLimit, Reader, Retention,
///     SlowReaderPolicy, Stream, StreamConfig,
/// };
/// use rejoin_protocol::StreamNumber;
///
/// // The gateway passes `rejoin_gateway::encode`, which adds a WebSocket header.
/// let encode = |_: PayloadKind, parts: &[&[u8]]| parts.concat().into();
/// let gap = |notice: rejoin_core::GapNotice| format!("{} missed", notice.missed).into();
/// let stream = Stream::new(StreamConfig {
///     number: StreamNumber(1),
///     retention: Retention {
///         frames: NonZeroUsize::new(2).unwrap(),
///         bytes: NonZeroUsize::new(1024).unwrap(),
///         age: Some(Duration::from_secs(60)),
///     },
///     lag: LagPolicy::Gap { policy: SlowReaderPolicy::CatchUp, encode: Arc::new(gap) },
///     encode,
/// });
///
/// for text in ["a", "b", "c"] {
///     stream.append(PayloadKind::Text, 1, &[text.as_bytes()]);
/// }
///
/// // The first frame is dropped: the ring holds two.
/// let mut batch = Batch::default();
/// let limit = ReadLimit { frames: NonZeroUsize::new(10).unwrap(), bytes: 1024 };
/// let Progress::Behind { oldest, notice } = stream.read(Reader { next: 0 }, limit, &mut batch)
/// else {
///     panic!("the reader is behind");
/// };
/// assert_eq!((oldest, notice.missed), (1, 1));
///
/// assert_eq!(stream.read(Reader { next: oldest }, limit, &mut batch), Progress::Frames);
/// let texts: Vec<_> = batch.frames.iter().map(Frame::payload).collect();
/// assert_eq!(texts, ["b", "c"]);
/// ```
#[derive(Clone)]
pub struct Stream {
    shared: Arc<Shared>,
}

struct Shared {
    number: StreamNumber,
    epoch: u64,
    lag: LagPolicy,
    encode: Encode,
    state: Mutex<State, STREAM>,
    /// Notifies producers when a follower has made room. Notified only while producers wait.
    room: Notify,
}

struct State {
    ring: Ring,
    /// Nothing more is appended.
    is_finished: bool,
    followers: Followers,
    waiting_producers: usize,
    /// Frames that are not durable yet.
    reserved: Reserved,
}

impl Stream {
    /// Creates an empty stream with a random epoch.
    #[must_use]
    pub fn new(config: StreamConfig) -> Self {
        Self::build(config, random_epoch(), None)
    }

    /// Continues a stream of an earlier process, without frames, at a position.
    pub(crate) fn continued(config: StreamConfig, at: Position) -> Self {
        let stream = Self::build(config, at.epoch, None);
        if at.offset > 0 {
            stream.shared.state.lock().ring.skip_to(at.offset);
        }
        stream
    }

    /// Drops all frames and continues at an offset. Readers continue with a snapshot.
    pub(crate) fn skip_to(&self, offset: u64) {
        let mut state = self.shared.state.lock();
        state.ring.skip_to(offset);
        state.followers.notify(self.shared.number);
    }

    /// Creates an empty stream whose frames count towards a shared budget.
    pub(crate) fn with_budget(config: StreamConfig, budget: Arc<Budget>) -> Self {
        Self::build(config, random_epoch(), Some(budget))
    }

    /// Creates an empty stream with this epoch, which no other life of the stream may have.
    pub(crate) fn with_epoch(config: StreamConfig, epoch: u64, budget: Arc<Budget>) -> Self {
        Self::build(config, epoch, Some(budget))
    }

    fn build(config: StreamConfig, epoch: u64, budget: Option<Arc<Budget>>) -> Self {
        let state = State {
            ring: Ring::new(config.retention, budget.clone()),
            is_finished: false,
            followers: Followers::default(),
            waiting_producers: 0,
            reserved: Reserved::default(),
        };

        let shared = Arc::new(Shared {
            number: config.number,
            epoch,
            lag: config.lag,
            encode: config.encode,
            state: Mutex::new(state),
            room: Notify::new(),
        });

        // The budget holds streams weakly, so it does not keep a dropped topic alive.
        if let Some(budget) = budget {
            budget.share(&shared);
        }

        Self { shared }
    }

    /// Continues a stream of another process.
    pub(crate) fn restored(
        config: StreamConfig,
        saved: &SavedStream,
        budget: Option<Arc<Budget>>,
    ) -> Self {
        let encode = config.encode;
        let stream = Self::build(config, saved.head.epoch, budget);
        stream.shared.state.lock().ring.restore(saved, encode);
        stream
    }

    /// Returns the state for another process. Each frame must be a text of one unit.
    pub(crate) fn save(&self) -> SavedStream {
        let (offset, frames) = self.shared.state.lock().ring.save();
        SavedStream { head: self.position(offset), frames }
    }

    /// Returns the stream's number on the wire.
    #[must_use]
    pub fn number(&self) -> StreamNumber {
        self.shared.number
    }

    /// Returns the position after the last frame.
    #[must_use]
    pub fn head(&self) -> Position {
        self.position(self.shared.state.lock().ring.head_offset())
    }

    /// Returns the policy for readers that fall behind.
    #[must_use]
    pub fn lag_policy(&self) -> &LagPolicy {
        &self.shared.lag
    }

    /// Appends a frame of `units` whose payload is `parts`, concatenated. Never blocks.
    ///
    /// Returns the position after the frame. A frame of 0 units has the same position as the next
    /// frame, so a reader that resumes there gets it again: it must contain a state, not a change.
    ///
    /// For producers that must not wait, or that have waited for [`room`](Self::room).
    ///
    /// # Panics
    /// In debug builds, if the stream is finished.
    pub fn append(&self, kind: PayloadKind, units: u64, parts: &[&[u8]]) -> Position {
        // Encoded before the lock: a large frame must not delay readers.
        let frame = Frame::new(self.shared.encode, kind, parts);
        let mut state = self.shared.state.lock();
        state.push(frame, units, self.shared.number);
        self.position(state.ring.head_offset())
    }

    /// Finishes the stream: a reader that has read all frames gets [`Progress::Finished`].
    pub fn finish(&self) {
        let mut state = self.shared.state.lock();
        state.is_finished = true;
        // No frame follows that would notify them.
        state.followers.notify(self.shared.number);
    }

    /// Drops frames that exceed the maximum age.
    ///
    /// Returns the time since the last use if the stream is empty and has no followers.
    pub fn expire(&self) -> Option<Duration> {
        let mut state = self.shared.state.lock();
        let now = Instant::now();
        state.ring.expire(now);
        (state.ring.is_empty() && state.followers.is_empty()).then(|| state.ring.idle_for(now))
    }

    /// Returns the number of retained frames, and the time since the newest of them, or since the
    /// last use if there is none.
    #[must_use]
    pub fn retained(&self) -> (usize, Duration) {
        let mut state = self.shared.state.lock();
        let now = Instant::now();
        state.ring.expire(now);
        (state.ring.len(), state.ring.quiet_for(now))
    }

    /// Returns the number and the position of the next frame, from one turn.
    #[must_use]
    pub fn next(&self) -> (Seq, Position) {
        let state = self.shared.state.lock();
        (state.ring.head(), self.position(state.ring.head_offset()))
    }

    /// Returns `true` if this is the only handle to the stream.
    pub(crate) fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }

    /// Returns the oldest retained frame; the next frame if none is retained.
    #[must_use]
    pub fn oldest(&self) -> Seq {
        self.shared.state.lock().ring.oldest()
    }

    fn position(&self, offset: u64) -> Position {
        Position { epoch: self.shared.epoch, offset }
    }
}

impl State {
    fn push(&mut self, frame: Frame, units: u64, number: StreamNumber) {
        debug_assert!(!self.is_finished, "nothing is appended to a finished stream");
        self.ring.push(frame, units, Instant::now());
        self.followers.notify(number);
    }

    fn has_room(&self) -> bool {
        let (frames, bytes) = self.reserved.size();
        self.reserved.has_room()
            && self.followers.slowest().is_none_or(|taken| self.ring.has_room(taken, frames, bytes))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("number", &self.shared.number).finish_non_exhaustive()
    }
}

pub(crate) fn random_epoch() -> u64 {
    getrandom::u64().expect("the operating system has randomness")
}
