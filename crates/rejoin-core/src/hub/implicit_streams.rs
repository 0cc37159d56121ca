//! The streams that connections read without a subscription: those of everyone, of the user, of
//! the device.
//!
//! The stream of a user or a device is created by the first event, so that the many without an
//! event cost nothing. Until then a client holds the position *nothing before this moment*. It is
//! the beginning of any stream that is created later, unless an event since then was forgotten,
//! which takes at least [`IDLE_LIFETIME`](topic_stream::IDLE_LIFETIME).

mod epochs;
mod kept;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use rejoin_protocol::{
    DeviceId, ErrorCode, Position, TopicName, UserId, Verdict,
    message::{ErrorBody, ImplicitPositions, ImplicitStreamStarts, StreamStart},
};
use tracing::error;

use crate::{
    backend::{EpochClock, JournalRecord, StreamOwner},
    connection::Connection,
    hub::{
        budgets::Budgets,
        registry::ConnectionRegistry,
        topic_stream::{self, JournalStream},
    },
    lock::{Mutex, level::HUB_MAP},
    outbox::OutboxItem,
    presence::PresenceContext,
    saved::SavedStream,
    stream::{Holders, Reader, Start, Stream, StreamConfig},
};

use epochs::Epochs;
use kept::{DroppedStream, KeptStreams};

/// The topic of events for everyone.
pub(super) const ALL: &str = "@all";
/// The topic of events for a user.
pub(super) const USER: &str = "@user";
/// The topic of events for a device.
pub(super) const DEVICE: &str = "@device";
/// The topic of changes of the user's sessions, read by connections that subscribe to it.
pub(super) const SESSIONS: &str = "@sessions";

/// The owner of an implicit stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum ImplicitStreamKey {
    User(UserId),
    Device(UserId, DeviceId),
    Sessions(UserId),
}

impl ImplicitStreamKey {
    pub(super) fn of_user(connection: &Connection) -> Self {
        Self::User(connection.user().clone())
    }

    /// Returns the key of the connection's device, if it named one.
    pub(super) fn of_device(connection: &Connection) -> Option<Self> {
        Some(Self::Device(connection.user().clone(), connection.device().id.clone()?))
    }

    /// Returns the user who is accountable for the stream.
    pub(super) fn user(&self) -> &UserId {
        match self {
            Self::User(user) | Self::Device(user, _) | Self::Sessions(user) => user,
        }
    }

    /// Returns the key of a stream in the journal; `None` for one of another kind.
    pub(super) fn of_owner(owner: StreamOwner) -> Option<Self> {
        match owner {
            StreamOwner::Everyone | StreamOwner::Topic { .. } => None,
            StreamOwner::User { user } => Some(Self::User(user)),
            StreamOwner::Device { user, device } => Some(Self::Device(user, device)),
        }
    }

    /// Returns the owner of the stream in the journal; `None` if the stream ends with the process.
    pub(super) fn owner(&self) -> Option<StreamOwner> {
        match self.clone() {
            Self::User(user) => Some(StreamOwner::User { user }),
            Self::Device(user, device) => Some(StreamOwner::Device { user, device }),
            // The changes of sessions: the list itself is in the store.
            Self::Sessions(_) => None,
        }
    }

    pub(super) fn topic(&self) -> TopicName {
        let name = match self {
            Self::User(_) => USER,
            Self::Device(..) => DEVICE,
            Self::Sessions(_) => SESSIONS,
        };
        TopicName::new(name).expect("a valid name")
    }
}

/// The implicit streams of a hub.
#[derive(Debug)]
pub(super) struct ImplicitStreams {
    /// Created by its first use, or by the restore before it. The same applies to `epochs`.
    everyone: OnceLock<Stream>,
    epochs: OnceLock<Epochs>,
    max: usize,
    budgets: Arc<Budgets>,
    context: Arc<PresenceContext>,
    /// Held during a registration and during the creation of a stream, so that a new connection
    /// reads a new stream exactly once. The registry's lock is taken below it.
    kept: Mutex<KeptStreams, HUB_MAP>,
}

/// The implicit streams of another process.
#[derive(Debug, Default)]
pub(super) struct SavedImplicitStreams {
    pub(super) clock: Option<EpochClock>,
    /// For each user, the last epoch in which an evicted stream received a message.
    pub(super) evicted: HashMap<UserId, u64>,
    pub(super) everyone: Option<SavedStream>,
    pub(super) streams: HashMap<ImplicitStreamKey, SavedStream>,
}

/// The starts of a connection's implicit readers.
#[derive(Debug)]
pub(super) struct Starts {
    /// The starts for the client.
    pub(super) answer: ImplicitStreamStarts,
    /// The readers for the outbox.
    pub(super) reads: Vec<OutboxItem>,
}

/// The epochs that apply to one user.
#[derive(Clone, Copy, Debug)]
struct UserEpochs {
    /// The epoch of a new stream.
    new: u64,
    /// The last epoch in which an event may be missing.
    evicted: u64,
}

impl UserEpochs {
    fn of(user: &UserId, kept: &KeptStreams, epochs: &Epochs) -> Self {
        Self { new: kept.new_epoch(user, epochs), evicted: kept.evicted(user) }
    }
}

impl ImplicitStreams {
    pub(super) fn new(max: usize, budgets: Arc<Budgets>, context: Arc<PresenceContext>) -> Self {
        let (everyone, epochs) = (OnceLock::new(), OnceLock::new());
        Self { everyone, epochs, max, budgets, context, kept: Mutex::default() }
    }

    /// Returns the stream of everyone.
    pub(super) fn everyone(&self) -> &Stream {
        self.everyone.get_or_init(|| Stream::new(self.everyone_config()))
    }

    fn epochs(&self) -> &Epochs {
        self.epochs.get_or_init(Epochs::new)
    }

    pub(super) fn get(&self, key: &ImplicitStreamKey) -> Option<Stream> {
        self.kept.lock().get(key).cloned()
    }

    /// Returns a stream. Creates it if it does not exist, and starts the readers of all
    /// connections that it belongs to.
    ///
    /// # Errors
    /// `overloaded` if the user has too many streams that are new or read.
    pub(super) fn get_or_create(
        &self,
        key: ImplicitStreamKey,
        registry: &ConnectionRegistry,
    ) -> Result<Stream, ErrorBody> {
        let mut kept = self.kept.lock();
        if let Some(stream) = kept.get(&key) {
            return Ok(stream.clone());
        }

        // Streams of other users are evicted only if they have more of them.
        if !kept.make_room(key.user(), self.max, self.epochs()) {
            let sentence = "the user has too many device streams in use; try again later";
            return Err(ErrorBody::new(ErrorCode::Overloaded, sentence));
        }

        let budget = self.budgets.of(key.user());
        let epoch = kept.new_epoch(key.user(), self.epochs());
        let stream = Stream::with_epoch(self.stream_config(&key), epoch, budget);

        let connections = match &key {
            ImplicitStreamKey::User(user) => registry.of_user(user),
            ImplicitStreamKey::Device(user, device) => registry.of_device(user, device),
            // Connections read their list only after a subscription.
            ImplicitStreamKey::Sessions(_) => Vec::new(),
        };

        for connection in connections {
            connection.outbox().push(start_reading(&stream, &stream.start_now(None)));
        }

        kept.insert(key, stream.clone());
        Ok(stream)
    }

    /// Calls `register` with the starts of a new connection's readers.
    ///
    /// No stream is created meanwhile: a connection registered by `register` reads every stream
    /// from its start on, once.
    pub(super) fn with_starts<T>(
        &self,
        connection: &Connection,
        positions: &ImplicitPositions,
        register: impl FnOnce(Starts) -> T,
    ) -> T {
        let kept = self.kept.lock();
        let epochs = UserEpochs::of(connection.user(), &kept, self.epochs());
        let mut reads = Vec::new();
        let mut start = |stream: Option<&Stream>, position| {
            let start = self.start_in(stream, position, epochs);
            if let Some(stream) = stream {
                reads.push(start_reading(stream, &start));
            }
            answer(&start)
        };

        let all = start(Some(self.everyone()), positions.all);
        let user = start(kept.get(&ImplicitStreamKey::of_user(connection)), positions.user);
        let device = ImplicitStreamKey::of_device(connection)
            .map(|key| start(kept.get(&key), positions.device));
        register(Starts { answer: ImplicitStreamStarts { all, user, device }, reads })
    }

    /// Starts a reader of one stream, which may not exist yet.
    pub(super) fn start(
        &self,
        key: &ImplicitStreamKey,
        position: Option<Position>,
    ) -> (Start, Option<Stream>) {
        let kept = self.kept.lock();
        let epochs = UserEpochs::of(key.user(), &kept, self.epochs());
        let stream = kept.get(key);
        (self.start_in(stream, position, epochs), stream.cloned())
    }

    /// Returns the streams that were dropped since the last call, for the journal.
    pub(super) fn take_dropped(&self) -> Vec<JournalRecord> {
        let dropped = self.kept.lock().take_dropped();
        let record = |DroppedStream { key, epoch, last }| {
            Some(JournalRecord::Dropped { stream: key.owner()?, epoch, last })
        };
        dropped.into_iter().filter_map(record).collect()
    }

    /// Drops expired events and unused streams.
    pub(super) fn sweep(&self) {
        // Not created here: the first sweep may precede the restore.
        if let Some(everyone) = self.everyone.get() {
            everyone.expire();
        }
        if let Some(epochs) = self.epochs.get() {
            self.kept.lock().sweep(epochs);
        }
    }

    /// Returns the streams for the next process, after the records of the clock and the evictions.
    pub(super) fn save(&self) -> (Vec<JournalRecord>, Vec<JournalStream>) {
        let kept = self.kept.lock();
        let mut records = vec![JournalRecord::Clock(self.epochs().save())];
        records.extend(kept.evictions().into_iter().map(JournalRecord::Eviction));

        let stream = self.everyone().clone();
        let mut streams = vec![JournalStream { owner: StreamOwner::Everyone, stream }];
        streams.extend(kept.iter().filter_map(|(key, stream)| {
            Some(JournalStream { owner: key.owner()?, stream: stream.clone() })
        }));
        (records, streams)
    }

    /// Restores the streams of another process. Call it before their first use.
    pub(super) fn restore(&self, saved: SavedImplicitStreams) {
        let SavedImplicitStreams { clock, evicted, everyone, streams } = saved;
        if let Some(everyone) = &everyone {
            let restored = Stream::restored(self.everyone_config(), everyone, None);
            if self.everyone.set(restored).is_err() {
                error!("`{ALL}` was used before the restore; its clients learn of a gap");
            }
        }

        // Without a clock the streams are not from the same run of it either.
        let Some(clock) = clock else { return };
        let epochs =
            streams.values().map(|stream| stream.head.epoch).chain(evicted.values().copied());
        let last = epochs.max().unwrap_or_default();
        if self.epochs.set(Epochs::restored(clock, last)).is_err() {
            error!("a stream was used before the restore; all clients learn of a gap");
            return;
        }

        let mut kept = self.kept.lock();
        kept.restore_evicted(evicted);
        for (key, stream) in streams {
            let budget = self.budgets.of(key.user());
            let stream = Stream::restored(self.stream_config(&key), &stream, Some(budget));
            kept.insert(key, stream);
        }
    }

    fn everyone_config(&self) -> StreamConfig {
        let all = TopicName::new(ALL).expect("a valid name");
        topic_stream::config(&all, topic_stream::default_rule(), &self.context)
    }

    fn stream_config(&self, key: &ImplicitStreamKey) -> StreamConfig {
        topic_stream::config(&key.topic(), topic_stream::default_rule(), &self.context)
    }

    fn start_in(
        &self,
        stream: Option<&Stream>,
        position: Option<Position>,
        UserEpochs { new, evicted }: UserEpochs,
    ) -> Start {
        let Some(stream) = stream else {
            return self.start_without_stream(position, UserEpochs { new, evicted });
        };

        // A position from before the stream's creation is its beginning, if no event is missing.
        let position = position.map(|position| match stream.head() {
            Position { epoch, .. } if self.epochs().is_beginning(position, epoch, evicted) => {
                Position { epoch, offset: 0 }
            }
            _ => position,
        });

        stream.start_now(position)
    }

    fn start_without_stream(&self, position: Option<Position>, user: UserEpochs) -> Start {
        let (verdict, reason) = match position {
            None => (Verdict::Fresh, None),
            Some(position) if self.epochs().is_beginning(position, user.new, user.evicted) => {
                (Verdict::Resumed, None)
            }
            // The stream was dropped since, or the position is from another process.
            Some(_) => (Verdict::Gap, Some("epoch")),
        };

        Start {
            verdict,
            replayed: 0,
            missed: None,
            reason,
            position: Position { epoch: user.new, offset: 0 },
            preamble: Vec::new(),
            history_omitted: 0,
            holders: Holders::default(),
            reader: Reader { next: 0 },
        }
    }
}

fn start_reading(stream: &Stream, start: &Start) -> OutboxItem {
    OutboxItem::StartReading {
        stream: stream.clone(),
        preamble: Vec::new(),
        reader: start.reader,
        window: None,
    }
}

fn answer(start: &Start) -> StreamStart {
    StreamStart {
        verdict: start.verdict,
        replayed: start.replayed,
        missed: start.missed,
        reason: start.reason,
        position: start.position,
    }
}
