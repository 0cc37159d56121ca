//! Helpers: streams of numbers, connections without sockets.

use std::{
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use parking_lot::Mutex;
use rejoin_core::{
    BoxFuture, Caps, ClientInfo, Connection, Device, EpochClock, Frame, Holders, Hub, HubConfig,
    Identity, JournalMessage, JournalRecord, LagPolicy, MemoryScreens, MemoryTerminal,
    MemoryTerminals, Outbox, OutboxItem, PayloadKind, Profile, ReadLimit, Registration, Retention,
    Shutdown, SlowReaderPolicy, Snapshot, SnapshotSource, StoredKey, Stream, StreamConfig, Wake,
};
use rejoin_protocol::{
    DeviceId, ProfileName, StreamNumber, UserId,
    message::{ErrorBody, ImplicitPositions},
};
use serde_json::Value;
use tokio::sync::mpsc;

/// Encodes a frame as its kind, `t` or `b`, and its payload.
pub(crate) fn encode(kind: PayloadKind, parts: &[&[u8]]) -> Bytes {
    let kind: &[u8] = if kind == PayloadKind::Text { b"t" } else { b"b" };
    [&[kind], parts].concat().concat().into()
}

pub(crate) fn frames(count: usize) -> Retention {
    Retention { frames: NonZeroUsize::new(count).unwrap(), bytes: NonZeroUsize::MAX, age: None }
}

pub(crate) fn limit(frames: usize) -> ReadLimit {
    ReadLimit { frames: NonZeroUsize::new(frames).unwrap(), bytes: usize::MAX }
}

/// Creates a stream that reports the number of missed frames.
pub(crate) fn topic(retention: Retention) -> Stream {
    topic_with(retention, SlowReaderPolicy::CatchUp)
}

/// Creates such a stream with a policy for slow readers.
pub(crate) fn topic_with(retention: Retention, policy: SlowReaderPolicy) -> Stream {
    let gap = |notice: rejoin_core::GapNotice| Bytes::from(format!("gap {}", notice.missed));
    let number = StreamNumber(1);
    let lag = LagPolicy::Gap { policy, encode: Arc::new(gap) };
    Stream::new(StreamConfig { number, retention, lag, encode })
}

/// The state that frames lead to. A frame with units adds a number, one without sets the status.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct State {
    pub(crate) listed: Vec<u64>,
    pub(crate) status: u64,
}

/// A state and the stream of its changes.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// Held over a change and its append, and over a snapshot.
    state: Mutex<State>,
    stream: OnceLock<Stream>,
}

#[derive(Debug)]
struct Source(std::sync::Weak<Numbers>);

impl Numbers {
    pub(crate) fn new(retention: Retention) -> Arc<Self> {
        let numbers = Arc::new(Self { state: Mutex::default(), stream: OnceLock::new() });
        let lag = LagPolicy::Snapshot(Arc::new(Source(Arc::downgrade(&numbers))));
        let number = StreamNumber(1);
        let stream = Stream::new(StreamConfig { number, retention, lag, encode });
        numbers.stream.set(stream).unwrap();
        numbers
    }

    pub(crate) fn stream(&self) -> &Stream {
        self.stream.get().unwrap()
    }

    pub(crate) fn append(&self, number: u64, units: u64) {
        let mut state = self.state.lock();
        let kind = if units == 0 {
            state.status = number;
            PayloadKind::Binary
        } else {
            state.listed.push(number);
            PayloadKind::Text
        };

        self.stream().append(kind, units, &[number.to_string().as_bytes()]);
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().clone()
    }
}

impl SnapshotSource for Source {
    fn snapshot(&self) -> BoxFuture<'static, Option<Snapshot>> {
        let numbers = self.0.upgrade();
        Box::pin(async move {
            let numbers = numbers?;
            let state = numbers.state.lock();
            let (seq, position) = numbers.stream().next();
            let text = serde_json::to_string(&*state).unwrap();
            Some(Snapshot {
                messages: vec![snapshot_frame(&text)],
                seq,
                position,
                history_omitted: 0,
                holders: Holders::default(),
            })
        })
    }
}

fn snapshot_frame(text: &str) -> Frame {
    let encode = |_, parts: &[&[u8]]| [b"s", parts[0]].concat().into();
    Frame::new(encode, PayloadKind::Text, &[text.as_bytes()])
}

/// Ignores all notifications.
#[derive(Debug)]
pub(crate) struct NoWake;

impl Wake for NoWake {
    fn stream_advanced(&self, _stream: StreamNumber) {}

    fn outbox_filled(&self, _slot: usize) {}
}

pub(crate) fn identity(user: &str) -> Identity {
    let user = UserId::new(user).unwrap();
    Identity::new(user, Caps::user())
}

pub(crate) fn connection(user: &str) -> Connection {
    let outbox = Arc::new(Outbox::new(Arc::new(NoWake), 0));
    Connection::new(identity(user), ClientInfo::default(), outbox, encode)
}

/// Registers a connection without positions.
pub(crate) fn register(hub: &Hub, connection: &Connection) -> Result<Registration, ErrorBody> {
    hub.register(connection.clone(), &ImplicitPositions::default(), |_| {})
}

/// Takes the queued items of a connection. Text messages are parsed as JSON.
pub(crate) fn received(connection: &Connection) -> Vec<Value> {
    let mut received = Vec::new();
    for item in connection.outbox().take() {
        match item {
            OutboxItem::Message(bytes) if bytes[0] == b't' => {
                received.push(serde_json::from_slice(&bytes[1..]).unwrap());
            }
            OutboxItem::Message(bytes) => received.push(Value::from(&bytes[1..])),
            OutboxItem::StartReading { .. } => received.push("read".into()),
            OutboxItem::StopReading(_) => received.push("stop".into()),
            OutboxItem::Control(_) => {}
            OutboxItem::Close(notice) => received.push(notice.code.row().name.into()),
        }
    }

    received
}

/// Creates a connection from a device.
pub(crate) fn connection_from(user: &str, device: Option<&str>) -> Connection {
    let outbox = Arc::new(Outbox::new(Arc::new(NoWake), 0));
    let id = device.map(|device| DeviceId::new(device).unwrap());
    let device = Device { id, name: None };
    let client = ClientInfo { device, ..ClientInfo::default() };
    Connection::new(identity(user), client, outbox, encode)
}

/// Runs a test with a clock that advances only while all tasks wait.
pub(crate) fn paused<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test)
}

/// Creates a hub whose programs the test plays.
pub(crate) fn hub() -> (Hub, mpsc::Receiver<MemoryTerminal>, Shutdown) {
    hub_with(|_| {})
}

/// Creates such a hub with a changed configuration.
pub(crate) fn hub_with(
    configure: impl FnOnce(&mut HubConfig),
) -> (Hub, mpsc::Receiver<MemoryTerminal>, Shutdown) {
    let terminals = MemoryTerminals::new();
    let programs = terminals.started().unwrap();
    let shutdown = Shutdown::new();
    let profile = Profile { command: vec!["program".into()], ..Profile::default() };
    let mut config = HubConfig {
        profiles: [(ProfileName::new("terminal").unwrap(), profile)].into(),
        ..HubConfig::new(encode, terminals, Arc::new(MemoryScreens))
    };

    configure(&mut config);
    (Hub::new(config, &shutdown), programs, shutdown)
}

/// Moves the times of a journal record by milliseconds.
pub(crate) fn move_time(record: &mut JournalRecord, by_ms: i64) {
    match record {
        JournalRecord::Message(JournalMessage { at, .. })
        | JournalRecord::Key(StoredKey { at, .. })
        | JournalRecord::Clock(EpochClock { at, .. }) => *at = at.saturating_add_signed(by_ms),
        JournalRecord::Head { .. } | JournalRecord::Eviction(_) | JournalRecord::Dropped { .. } => {
        }
    }
}
