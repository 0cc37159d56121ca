//! The streams that connections read unasked: everyone's, the user's, the device's (C4).
//!
//! A user's or a device's stream is made when something is first emitted to it, so that the many
//! to whom nothing is ever emitted cost nothing. Until then a client holds the position *nothing
//! before this moment*: the beginning of any stream that is made after it, unless something that
//! was emitted since has been forgotten, which takes at least [`LINGER`].

mod kept;

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rejoin_protocol::{
    DeviceId, ErrorCode, Position, TopicName, UserId, Verdict,
    message::{
        ErrorBody, ImplicitPositions, ImplicitStreamStarts, MessageBody, StreamStart,
        stream_message,
    },
};
use tokio::time::Instant;

pub(super) use kept::KeptStreams;

use crate::{
    connection::Connection,
    hub::{ALL, Hub, registry::State, topics},
    outbox::Item,
    saved::SavedEpochs,
    stream::{Holders, Reader, Start, Stream, StreamConfig},
    time::now_ms,
};

/// The topic of what is emitted to a user.
const USER: &str = "@user";
/// The topic of what is emitted to a device.
const DEVICE: &str = "@device";
/// The topic of what changes in the list of the user's sessions; read by those who ask for it.
const SESSIONS: &str = "@sessions";
/// How long a stream that nothing is left of keeps its epoch, so that who comes back hears that
/// nothing was missed.
pub(super) const LINGER: Duration = Duration::from_secs(3600);

/// Whose stream it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum OwnStream {
    User(UserId),
    Device(UserId, DeviceId),
    Sessions(UserId),
}

/// The stream of a user's list of sessions.
#[derive(Debug)]
pub(super) struct List {
    topic: TopicName,
    stream: Stream,
}

impl List {
    pub(super) async fn publish(&self, event: MessageBody<'_>) {
        let Ok(_) = publish(&self.stream, &self.topic, event, || Ok::<_, Infallible>(())).await;
    }
}

/// The epochs that count for one user.
#[derive(Clone, Copy, Debug)]
struct UserEpochs {
    /// The epoch of a stream that begins now.
    moment: u64,
    /// The last epoch in which anything may be missing.
    evicted: u64,
}

impl UserEpochs {
    fn of(user: &UserId, kept: &KeptStreams, epochs: &Epochs) -> Self {
        Self { moment: kept.moment(user, epochs), evicted: kept.evicted(user) }
    }
}

/// How a connection begins to read its own streams.
#[derive(Debug)]
pub(super) struct Starts {
    pub(super) told: ImplicitStreamStarts,
    pub(super) reads: Vec<Item>,
}

/// The time as epochs of own streams.
///
/// The upper half is random, so that an epoch of another process is not taken for one of this;
/// the lower counts seconds. A stream lingers for longer than a second, so no two lives of one
/// stream begin in the same.
#[derive(Debug)]
pub(super) struct Epochs {
    process: u64,
    /// How much time had passed at `since`, in the processes before this one.
    before: Duration,
    since: Instant,
    /// The last epoch in which anything was emitted to a stream that is forgotten. Only grows.
    forgotten: AtomicU64,
}

impl Epochs {
    pub(super) fn new() -> Self {
        let random = getrandom::u32().expect("the operating system has randomness");
        let process = u64::from(random) << 32;
        let (before, forgotten) = (Duration::ZERO, AtomicU64::new(process));
        Self { process, before, since: Instant::now(), forgotten }
    }

    /// The clock of another process, which was away for so long.
    pub(super) fn restored(saved: SavedEpochs, away: Duration) -> Self {
        let SavedEpochs { process, now, forgotten } = saved;
        // What was made in its last second has its name already: this one begins after it.
        let before = Duration::from_secs(now.saturating_sub(process)) + away;
        Self { process, before, since: Instant::now(), forgotten: AtomicU64::new(forgotten) }
    }

    pub(super) fn save(&self) -> SavedEpochs {
        let forgotten = self.forgotten.load(Ordering::Relaxed);
        SavedEpochs { process: self.process, now: self.now(), forgotten }
    }

    fn now(&self) -> u64 {
        self.ago(Duration::ZERO)
    }

    /// The epoch so long ago; never one of another process.
    fn ago(&self, duration: Duration) -> u64 {
        let passed = (self.before + self.since.elapsed()).saturating_sub(duration).as_secs();
        // From 1 on: nothing is forgotten in the beginning. The range is 136 years.
        self.process + (passed + 1).min(u64::from(u32::MAX))
    }

    /// Notes that a stream is forgotten to which something was emitted, last in this epoch.
    fn forget(&self, epoch: u64) {
        self.forgotten.fetch_max(epoch, Ordering::Relaxed);
    }

    /// Whether a position stands for "nothing before this moment", and nothing that was emitted
    /// from that moment to `end` is forgotten. `evicted` is the last epoch of the same user in
    /// which something may be missing.
    fn is_beginning(&self, position: Position, end: u64, evicted: u64) -> bool {
        let forgotten = self.forgotten.load(Ordering::Relaxed).max(evicted);
        position.offset == 0 && position.epoch > forgotten && position.epoch <= end
    }
}

impl OwnStream {
    fn of_user(connection: &Connection) -> Self {
        Self::User(connection.user().clone())
    }

    fn of_device(connection: &Connection) -> Option<Self> {
        Some(Self::Device(connection.user().clone(), connection.device().id.clone()?))
    }

    /// The user who is accountable for it.
    pub(super) fn user(&self) -> &UserId {
        match self {
            Self::User(user) | Self::Device(user, _) | Self::Sessions(user) => user,
        }
    }

    fn topic(&self) -> TopicName {
        let name = match self {
            Self::User(_) => USER,
            Self::Device(..) => DEVICE,
            Self::Sessions(_) => SESSIONS,
        };
        TopicName::new(name).expect("a valid name")
    }
}

impl Hub {
    /// Emits to all of a user's connections, and to those that come back in time (C4).
    ///
    /// Returns the position after it. Cancel safe: it is emitted or not.
    ///
    /// # Errors
    /// `overloaded` if the user has too many streams that are new or read, or once the hub stops.
    pub async fn emit_to_user(
        &self,
        user: &UserId,
        event: MessageBody<'_>,
    ) -> Result<Position, ErrorBody> {
        self.emit(OwnStream::User(user.clone()), event).await
    }

    /// The same for one of a user's devices.
    ///
    /// # Errors
    /// As [`emit_to_user`](Self::emit_to_user).
    pub async fn emit_to_device(
        &self,
        user: &UserId,
        device: &DeviceId,
        event: MessageBody<'_>,
    ) -> Result<Position, ErrorBody> {
        self.emit(OwnStream::Device(user.clone(), device.clone()), event).await
    }

    /// What those read who look at the list of a user's sessions, if there are any.
    pub(super) fn list_of(&self, user: &UserId) -> Option<List> {
        let key = OwnStream::Sessions(user.clone());
        let stream = self.shared.registry.state.lock().own_streams.get(&key).cloned()?;
        Some(List { topic: key.topic(), stream })
    }

    /// Emits to every connection there is, and to those that come back in time (B10).
    ///
    /// # Errors
    /// `overloaded` once the hub stops.
    pub async fn broadcast(&self, event: MessageBody<'_>) -> Result<Position, ErrorBody> {
        let all = TopicName::new(ALL).expect("a valid name");
        publish(&self.shared.everyone, &all, event, || self.shared.gate.check()).await
    }

    /// Where a connection begins to read one of its own streams that it asks for by name.
    ///
    /// # Errors
    /// `unknown_topic` if it has no such stream.
    pub(crate) fn start_own(
        &self,
        connection: &Connection,
        topic: &TopicName,
        position: Option<Position>,
    ) -> Result<(Start, Option<Stream>), ErrorBody> {
        let key = match topic.as_str() {
            ALL => {
                let start = self.shared.everyone.start_now(position);
                return Ok((start, Some(self.shared.everyone.clone())));
            }
            USER => Some(OwnStream::of_user(connection)),
            DEVICE => OwnStream::of_device(connection),
            SESSIONS => {
                let stream = self.own_stream(OwnStream::Sessions(connection.user().clone()))?;
                return Ok((stream.start_now(position), Some(stream)));
            }
            _ => None,
        };
        let key = key.ok_or_else(|| topics::reserved(topic))?;
        let state = self.shared.registry.state.lock();
        let stream = state.own_streams.get(&key);
        let user = UserEpochs::of(connection.user(), &state.own_streams, &self.shared.epochs);
        Ok((self.start_in(stream, position, user), stream.cloned()))
    }

    pub(super) fn own_starts(
        &self,
        state: &State,
        connection: &Connection,
        positions: &ImplicitPositions,
    ) -> Starts {
        let mut reads = Vec::new();
        let user = UserEpochs::of(connection.user(), &state.own_streams, &self.shared.epochs);
        let mut begin = |stream: Option<&Stream>, position| {
            let start = self.start_in(stream, position, user);
            if let Some(stream) = stream {
                reads.push(read(stream, &start));
            }
            told(&start)
        };
        let all = begin(Some(&self.shared.everyone), positions.all);
        let of_user = state.own_streams.get(&OwnStream::of_user(connection));
        let user = begin(of_user, positions.user);
        let device = OwnStream::of_device(connection)
            .map(|key| begin(state.own_streams.get(&key), positions.device));
        Starts { told: ImplicitStreamStarts { all, user, device }, reads }
    }

    /// Lets go of own streams that nothing is left of.
    pub(super) fn sweep_own_streams(&self) {
        self.shared.everyone.expire();
        self.shared.registry.state.lock().own_streams.sweep(&self.shared.epochs);
    }

    async fn emit(&self, key: OwnStream, event: MessageBody<'_>) -> Result<Position, ErrorBody> {
        let topic = key.topic();
        let stream = self.own_stream(key)?;
        let position = publish(&stream, &topic, event, || self.shared.gate.check()).await?;
        self.shared.metrics.emitted.inc();
        Ok(position)
    }

    /// The stream, which all whose own it is begin to read when it is made.
    fn own_stream(&self, key: OwnStream) -> Result<Stream, ErrorBody> {
        let mut state = self.shared.registry.state.lock();
        if let Some(stream) = state.own_streams.get(&key) {
            return Ok(stream.clone());
        }
        let (max, epochs) = (self.shared.config.limits.topics, &self.shared.epochs);
        if !state.own_streams.make_room(key.user(), max, epochs) {
            self.shared.metrics.rate_limited("topics");
            let sentence = "the user has as many streams of devices as allowed";
            return Err(ErrorBody::new(ErrorCode::Overloaded, sentence));
        }
        let budget = self.shared.budgets.of(key.user());
        let epoch = state.own_streams.moment(key.user(), epochs);
        let stream = Stream::with_epoch(self.own_config(&key), epoch, budget);
        let connections = match &key {
            OwnStream::User(user) => state.of_user(user),
            OwnStream::Device(user, device) => state.of_device(&(user.clone(), device.clone())),
            OwnStream::Sessions(_) => &[],
        };
        for connection in connections {
            connection.outbox().push(read(&stream, &stream.start_now(None)));
        }
        state.own_streams.insert(key, stream.clone());
        Ok(stream)
    }

    pub(super) fn own_config(&self, key: &OwnStream) -> StreamConfig {
        let number = self.shared.tools.next_stream();
        topics::config(&key.topic(), topics::default_rule(), number, self.encode())
    }

    /// Where reading begins; without a stream there is nothing to read yet.
    fn start_in(
        &self,
        stream: Option<&Stream>,
        position: Option<Position>,
        UserEpochs { moment: now, evicted }: UserEpochs,
    ) -> Start {
        let epochs = &self.shared.epochs;
        let Some(stream) = stream else {
            let (verdict, reason) = match position {
                None => (Verdict::Fresh, None),
                Some(position) if epochs.is_beginning(position, now, evicted) => {
                    (Verdict::Resumed, None)
                }
                Some(_) => (Verdict::Gap, Some("epoch")),
            };
            return Start {
                verdict,
                replayed: 0,
                missed: None,
                reason,
                position: Position { epoch: now, offset: 0 },
                preamble: Vec::new(),
                history_omitted: 0,
                holders: Holders::default(),
                reader: Reader { next: 0 },
            };
        };
        let position = position.map(|position| match stream.head() {
            Position { epoch, .. } if epochs.is_beginning(position, epoch, evicted) => {
                Position { epoch, offset: 0 }
            }
            _ => position,
        });
        stream.start_now(position)
    }
}

/// Appends an event, unless `check` refuses it at that moment.
async fn publish<E>(
    stream: &Stream,
    topic: &TopicName,
    event: MessageBody<'_>,
    check: impl Fn() -> Result<(), E>,
) -> Result<Position, E> {
    let time = now_ms();
    let text = |position| {
        check()?;
        Ok(stream_message(topic, position, event, time))
    };
    stream.publish(text).await
}

fn read(stream: &Stream, start: &Start) -> Item {
    Item::Read { stream: stream.clone(), preamble: Vec::new(), reader: start.reader }
}

fn told(start: &Start) -> StreamStart {
    StreamStart {
        verdict: start.verdict,
        replayed: start.replayed,
        missed: start.missed,
        reason: start.reason,
        position: start.position,
    }
}
