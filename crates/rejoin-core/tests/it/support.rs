//! What the tests stand on: streams of numbers, connections without sockets.

use std::{
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use parking_lot::Mutex;
use rejoin_core::{
    BoxFuture, Caps, Connection, Device, Handshake, Holders, Hub, HubConfig, Identity, Item, Kind,
    Lag, Membership, MemoryScreens, MemoryTerminal, MemoryTerminals, Outbox, Profile, ReadLimit,
    Retention, Shutdown, SlowReader, Snapshot, SnapshotSource, Stream, StreamConfig, Wake,
};
use rejoin_protocol::{
    DeviceId, ProfileName, StreamNumber, UserId,
    message::{ErrorBody, ImplicitPositions},
};
use serde_json::Value;
use tokio::sync::mpsc;

/// Frames as they are: the first byte says whether they are text.
pub(crate) fn encode(kind: Kind, parts: &[&[u8]]) -> Bytes {
    let kind: &[u8] = if kind == Kind::Text { b"t" } else { b"b" };
    [&[kind], parts].concat().concat().into()
}

pub(crate) fn frames(count: usize) -> Retention {
    Retention { frames: NonZeroUsize::new(count).unwrap(), bytes: NonZeroUsize::MAX, age: None }
}

pub(crate) fn limit(frames: usize) -> ReadLimit {
    ReadLimit { frames: NonZeroUsize::new(frames).unwrap(), bytes: usize::MAX }
}

/// A stream that says of a gap how many frames are missing.
pub(crate) fn topic(retention: Retention) -> Stream {
    topic_with(retention, SlowReader::CatchUp)
}

/// The same, with a policy for slow readers.
pub(crate) fn topic_with(retention: Retention, policy: SlowReader) -> Stream {
    let gap = |notice: rejoin_core::GapNotice| Bytes::from(format!("gap {}", notice.missed));
    let number = StreamNumber(1);
    let lag = Lag::Gap { policy, encode: Arc::new(gap) };
    Stream::new(StreamConfig { number, retention, lag, encode })
}

/// What frames lead to: those with units are listed, one without says what is.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct State {
    pub(crate) listed: Vec<u64>,
    pub(crate) status: u64,
}

/// A state and the stream of its changes.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// Changed and snapshot in one turn: that is what the lock is.
    state: Mutex<State>,
    stream: OnceLock<Stream>,
}

#[derive(Debug)]
struct Source(std::sync::Weak<Numbers>);

impl Numbers {
    pub(crate) fn new(retention: Retention) -> Arc<Self> {
        let numbers = Arc::new(Self { state: Mutex::default(), stream: OnceLock::new() });
        let lag = Lag::Snapshot(Arc::new(Source(Arc::downgrade(&numbers))));
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
            Kind::Binary
        } else {
            state.listed.push(number);
            Kind::Text
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
            let text = format!("s{}", serde_json::to_string(&*state).unwrap());
            Some(Snapshot {
                messages: vec![Bytes::from(text).into()],
                seq,
                position,
                history_omitted: 0,
                holders: Holders::default(),
            })
        })
    }
}

/// Nobody to wake.
#[derive(Debug)]
pub(crate) struct Asleep;

impl Wake for Asleep {
    fn stream_advanced(&self, _stream: StreamNumber) {}

    fn outbox_filled(&self, _slot: usize) {}
}

pub(crate) fn identity(user: &str) -> Identity {
    let user = UserId::new(user).unwrap();
    Identity::new(user, Caps::user())
}

pub(crate) fn connection(user: &str) -> Connection {
    let outbox = Arc::new(Outbox::new(Arc::new(Asleep), 0));
    Connection::new(identity(user), Handshake::default(), outbox, encode)
}

/// Joins, with nothing to resume.
pub(crate) fn join(hub: &Hub, connection: &Connection) -> Result<Membership, ErrorBody> {
    hub.join(connection.clone(), &ImplicitPositions::default(), |_| {})
}

/// What waits for a connection: messages as JSON, binary ones as text after their first bytes.
pub(crate) fn told(connection: &Connection) -> Vec<Value> {
    let mut told = Vec::new();
    for item in connection.outbox().take() {
        match item {
            Item::Message(bytes) if bytes[0] == b't' => {
                told.push(serde_json::from_slice(&bytes[1..]).unwrap());
            }
            Item::Message(bytes) => told.push(Value::from(&bytes[1..])),
            Item::Read { .. } => told.push("read".into()),
            Item::Unread(_) => told.push("unread".into()),
            Item::Close(goodbye) => told.push(goodbye.code.row().name.into()),
        }
    }
    told
}

/// A connection from a device.
pub(crate) fn connection_from(user: &str, device: Option<&str>) -> Connection {
    let outbox = Arc::new(Outbox::new(Arc::new(Asleep), 0));
    let id = device.map(|device| DeviceId::new(device).unwrap());
    let device = Device { id, name: None };
    let handshake = Handshake { device, ..Handshake::default() };
    Connection::new(identity(user), handshake, outbox, encode)
}

/// A clock that stands still until all tasks wait.
pub(crate) fn paused<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test)
}

/// A hub whose programs the test plays.
pub(crate) fn hub() -> (Hub, mpsc::Receiver<MemoryTerminal>, Shutdown) {
    hub_with(|_| {})
}

/// The same, with other settings.
pub(crate) fn hub_with(
    configure: impl FnOnce(&mut HubConfig),
) -> (Hub, mpsc::Receiver<MemoryTerminal>, Shutdown) {
    let terminals = MemoryTerminals::new();
    let programs = terminals.started().unwrap();
    let shutdown = Shutdown::new();
    let profile =
        Profile { command: vec!["program".into()], cwd: None, env: Vec::new(), install_hint: None };
    let mut config = HubConfig {
        profiles: [(ProfileName::new("terminal").unwrap(), profile)].into(),
        ..HubConfig::new(encode, terminals, Arc::new(MemoryScreens))
    };
    configure(&mut config);
    (Hub::new(config, &shutdown), programs, shutdown)
}
