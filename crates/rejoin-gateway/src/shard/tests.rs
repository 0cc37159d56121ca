//! What shards do to sockets, without HTTP: streams and outboxes at one end, bytes at the other.

mod attend;
mod drain;
mod end;
mod forms;

use std::{cell::OnceCell, num::NonZeroUsize, sync::Arc, time::Duration};

use bytes::Bytes;
use rejoin_core::{
    Caps, Connection, Form, GapNotice, Handshake, Identity, Item, Lag, Metrics, Outbox, Reader,
    Retention, Shutdown, SlowReader, Stream, StreamConfig,
};
use rejoin_protocol::{StreamNumber, UserId};
use rejoin_websocket::{Decoder, Event, Role};
use serde_json::Value;
use socket2::SockRef;
use tokio::{io::AsyncReadExt, net::UnixStream, time::Instant};

use crate::{
    encode,
    net::{ReadHalf, Socket},
    shard::{Settings, Shards},
};

pub(super) const HEARTBEAT: Duration = Duration::from_secs(30);
pub(super) const DRAIN_WINDOW: Duration = Duration::from_secs(10);
/// The time of day at which each test begins.
pub(super) const DAY: u64 = 1_700_000_000_000;

/// Shards, and what is counted.
pub(super) struct Bench {
    pub(super) shards: Shards,
    pub(super) metrics: Arc<Metrics>,
    pub(super) shutdown: Shutdown,
}

/// The far end of a socket that a shard writes.
pub(super) struct Far {
    pub(super) socket: UnixStream,
    pub(super) outbox: Arc<Outbox>,
    /// The near side that is read; nobody does.
    pub(super) read: ReadHalf,
    decoder: Decoder,
    heard: std::collections::VecDeque<Heard>,
}

/// What a peer hears.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Heard {
    Text(Value),
    Binary(Vec<u8>),
    Ping,
    Close(u16),
    End,
}

/// A clock that goes as the paused one does.
fn day() -> u64 {
    thread_local!(static BORN: OnceCell<Instant> = const { OnceCell::new() });
    let since = BORN.with(|born| born.get_or_init(Instant::now).elapsed());
    DAY + u64::try_from(since.as_millis()).unwrap()
}

impl Bench {
    pub(super) fn new(shards: usize) -> Self {
        day();
        let (metrics, shutdown) = (Arc::default(), Shutdown::new());
        let settings = Settings { heartbeat: HEARTBEAT, drain_window: DRAIN_WINDOW, clock: day };
        let count = NonZeroUsize::new(shards).unwrap();
        let shards = Shards::start(count, settings, &metrics, &shutdown);
        Self { shards, metrics, shutdown }
    }

    /// How many frames were dropped for a reason.
    pub(super) fn dropped(&self, reason: &'static str) -> u64 {
        self.metrics.frames_dropped.get_or_create(&[("reason", reason)]).get()
    }

    /// A socket whose kernel takes little.
    pub(super) fn connect(&self, form: Form) -> Far {
        let (near, socket) = UnixStream::pair().unwrap();
        SockRef::from(&near).set_send_buffer_size(8 * 1024).unwrap();
        let (read, write) = Socket::from(near).into_split();
        let outbox = self.shards.add(write, form);
        let decoder = Decoder::new(Role::Client, 1 << 20);
        Far { socket, outbox, read, decoder, heard: std::collections::VecDeque::new() }
    }
}

impl Far {
    pub(super) fn connection(&self, expires_at: Option<u64>) -> Connection {
        let user = UserId::new("ann").unwrap();
        let identity = Identity { expires_at, ..Identity::new(user, Caps::user()) };
        Connection::new(identity, Handshake::default(), Arc::clone(&self.outbox), encode)
    }

    /// Reads a stream from its frame `next` on.
    pub(super) fn reads(&self, stream: &Stream, next: u64) {
        let (stream, reader) = (stream.clone(), Reader { next });
        self.outbox.push(Item::Read { stream, preamble: Vec::new(), reader });
    }

    pub(super) async fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            let mut bytes = [0; 4096];
            let count = self.socket.read(&mut bytes).await.unwrap();
            if count == 0 {
                return Heard::End;
            }
            let mut feed = self.decoder.feed(&mut bytes[..count]);
            while let Some(event) = feed.next().unwrap() {
                self.heard.push_back(match event {
                    Event::Text(text) => Heard::Text(serde_json::from_str(text).unwrap()),
                    Event::Binary(bytes) => Heard::Binary(bytes.to_vec()),
                    Event::Ping(_) => Heard::Ping,
                    Event::Pong(_) => panic!("nobody asked"),
                    Event::Close(close) => Heard::Close(close.map_or(0, |close| close.code)),
                });
            }
        }
    }

    /// All until the end, without it.
    pub(super) async fn rest(&mut self) -> Vec<Heard> {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                Heard::End => return all,
                heard => all.push(heard),
            }
        }
    }
}

/// A stream that keeps so many frames.
pub(super) fn stream(frames: usize, policy: SlowReader) -> Stream {
    let gap = |notice: GapNotice| {
        let GapNotice { missed, reason, .. } = notice;
        let text = serde_json::json!({ "missed": missed, "reason": reason }).to_string();
        encode(rejoin_core::Kind::Text, &[text.as_bytes()])
    };
    let retention = Retention {
        frames: NonZeroUsize::new(frames).unwrap(),
        bytes: NonZeroUsize::MAX,
        age: None,
    };
    let lag = Lag::Gap { policy, encode: Arc::new(gap) };
    Stream::new(StreamConfig { number: StreamNumber(9), retention, lag, encode })
}

/// Appends a text that is a number, padded so that few of them fill a socket.
pub(super) fn publish(stream: &Stream, number: u64, bytes: usize) {
    let text = format!("{number}{}", " ".repeat(bytes));
    stream.append(rejoin_core::Kind::Text, 1, &[text.as_bytes()]);
}

/// Lets the shards do all they can.
pub(super) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

pub(super) fn number(number: u64) -> Heard {
    Heard::Text(number.into())
}

pub(super) fn bytes_of(stream: &Stream, form: Form) -> Vec<u8> {
    let mut batch = rejoin_core::Batch::default();
    let limit = rejoin_core::ReadLimit { frames: NonZeroUsize::MAX, bytes: usize::MAX };
    stream.read(Reader { next: 0 }, limit, &mut batch);
    let bytes = |frame| -> Bytes { crate::shard::form::of(frame, form).clone() };
    batch.frames.iter().flat_map(bytes).collect()
}
