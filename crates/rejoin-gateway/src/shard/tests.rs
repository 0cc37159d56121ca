//! A shard without a thread, for tests: real sockets, a paused clock, and turns on demand.

mod lifecycle;
mod readers;
mod window;

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown as How, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use mio::Events;
use rejoin_core::{
    Caps, ClientInfo, FrameEncoding, Hub, HubConfig, Identity, MemoryScreens, MemoryTerminal,
    MemoryTerminals, Profile, Retention, Shutdown, TopicRule,
};
use rejoin_protocol::{ProfileName, UserId};
use serde_json::{Value, json};
use socket2::SockRef;
use tokio::sync::mpsc;

use crate::{
    Gateway, GatewayConfig, Signer,
    credentials::AuthOutcome,
    encode,
    shard::{Context, Settings, Shard, UpgradedSocket, inbox::Inbox},
    socket::Accepted,
    state::Shared,
    transport::Transport,
};

/// The connection limit of the test gateway.
pub(super) const MAX_CONNECTIONS: usize = 100;

/// A shard that runs only when a test turns it.
pub(super) struct TestShard {
    pub(super) gateway: Arc<Shared>,
    pub(super) shard: Shard,
    /// The terminals of sessions with the profile `memory`, as they start.
    pub(super) terminals: mpsc::Receiver<MemoryTerminal>,
    events: Events,
    inbox: Inbox,
}

/// The client side of a connection.
pub(super) struct TestPeer {
    socket: TcpStream,
    /// Bytes that the socket has not taken.
    unsent: Vec<u8>,
}

impl TestShard {
    pub(super) fn new(configure: impl FnOnce(&mut GatewayConfig)) -> Self {
        let terminals = MemoryTerminals::new();
        let started = terminals.started().expect("the first call");
        let profile = Profile { command: vec!["memory".to_owned()], ..Profile::default() };
        // Messages must not expire: a test that advances the clock counts them to see what was
        // executed.
        let rule = TopicRule {
            pattern: "all".to_owned(),
            retention: Retention { age: None, ..Retention::default() },
            ..TopicRule::default()
        };
        let config = HubConfig {
            profiles: [(ProfileName::new("memory").unwrap(), profile)].into(),
            presence_grace: Duration::ZERO,
            topics: vec![rule],
            ..HubConfig::new(encode, terminals, Arc::new(MemoryScreens))
        };

        let hub = Hub::new(config, &Shutdown::new());
        let signer = Signer::hs256(b"at least thirty-two bytes of secret").unwrap();
        let mut config = GatewayConfig::new(signer.verifier());
        config.max_connections = MAX_CONNECTIONS;
        configure(&mut config);
        let (gateway, _) = Gateway::new(hub, config).share(None);
        let settings = Settings { drain_window: Duration::from_secs(10) };
        let (shard, _) = Shard::new(Context::new(settings, &gateway)).unwrap();
        let (events, inbox) = (Events::with_capacity(64), Inbox::default());
        Self { gateway, shard, terminals: started, events, inbox }
    }

    /// Connects as `user`, with small socket buffers so that a few messages fill them.
    pub(super) fn connect(&mut self, user: &str) -> TestPeer {
        self.connect_with_buffers(user, 4096)
    }

    /// Connects as `user`, with socket buffers of this many bytes.
    pub(super) fn connect_with_buffers(&mut self, user: &str, bytes: usize) -> TestPeer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        for end in [&socket, &near] {
            SockRef::from(end).set_recv_buffer_size(bytes).unwrap();
            SockRef::from(end).set_send_buffer_size(bytes).unwrap();
        }

        socket.set_nonblocking(true).unwrap();
        near.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();

        let identity = Identity::new(UserId::new(user).unwrap(), Caps::user());
        let permit = Arc::clone(&self.gateway.permits).try_acquire_owned().unwrap();
        let accepted = Accepted::new(
            AuthOutcome::Known(identity),
            ClientInfo::default(),
            FrameEncoding::Plain,
            permit,
        );
        self.shard.adopt(UpgradedSocket {
            transport: Transport::Plain(mio::net::TcpStream::from_std(near)),
            first_bytes: bytes::Bytes::new(),
            accepted,
            raw: None,
        });

        TestPeer { socket, unsent: Vec::new() }
    }

    /// Turns the shard, and runs its jobs, until no work is left.
    pub(super) async fn run_until_idle(&mut self) {
        for _ in 0..8 {
            self.shard.turn(&mut self.events, &mut self.inbox, Some(Duration::ZERO));
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Makes one turn that waits for sockets, for up to 50 ms of real time.
    ///
    /// Small TCP windows open slowly, so several turns may be needed.
    pub(super) fn wait_for_sockets(&mut self) {
        const MAX_WAIT: Duration = Duration::from_millis(50);
        self.shard.turn(&mut self.events, &mut self.inbox, Some(MAX_WAIT));
    }

    /// Advances the paused clock by `duration`, in small steps.
    pub(super) async fn advance(&mut self, duration: Duration) {
        let step = Duration::from_millis(500);
        for _ in 0..duration.as_millis().div_ceil(step.as_millis()) {
            tokio::time::advance(step).await;
            self.run_until_idle().await;
        }
    }

    /// Returns the data of all messages of a topic.
    pub(super) fn published(&self, topic: &str) -> Vec<Value> {
        use rejoin_core::{Batch, ReadLimit, Reader, TopicRight};
        let admin = Identity::new(UserId::new("admin").unwrap(), Caps::admin());
        let name = rejoin_protocol::TopicName::new(topic).unwrap();
        let topic = self.gateway.hub.existing_topic(&name, &admin, TopicRight::Subscribe);
        let Some(topic) = topic.unwrap() else { return Vec::new() };

        let mut batch = Batch::default();
        let limit = ReadLimit { frames: std::num::NonZeroUsize::MAX, bytes: usize::MAX };
        topic.stream().read(Reader { next: 0 }, limit, &mut batch);
        let payload = |frame: &rejoin_core::Frame| {
            let payload = serde_json::from_slice::<Value>(&frame.payload()).unwrap();
            payload["payload"]["data"].clone()
        };

        batch.frames.iter().map(payload).collect()
    }
}

impl TestPeer {
    /// Sends bytes. Those that the socket does not take wait for `flush`.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.unsent.clear(),
            }
        }
    }

    /// Sends a request without an id.
    pub(super) fn request(&mut self, kind: &str, payload: &Value) {
        self.send(&text(&json!({ "type": kind, "payload": payload }).to_string()));
    }

    /// Reads all bytes that have arrived.
    pub(super) fn read(&mut self) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = self.socket.read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
        }
        all
    }

    /// Ends the write side.
    pub(super) fn half_close(&mut self) {
        let _ = self.socket.shutdown(How::Write);
    }
}

/// Returns a text frame with a zero mask, which leaves the payload as it is.
pub(super) fn text(payload: &str) -> Vec<u8> {
    let length = match payload.len() {
        short @ 0..126 => vec![0x80 | u8::try_from(short).unwrap()],
        long => [&[0xfe], &u16::try_from(long).unwrap().to_be_bytes()[..]].concat(),
    };

    [&[0x81], &length[..], &[0; 4], payload.as_bytes()].concat()
}

/// Returns a binary frame of at most 125 bytes with a zero mask.
pub(super) fn binary(payload: &[u8]) -> Vec<u8> {
    let length = 0x80 | u8::try_from(payload.len()).unwrap();
    [&[0x82, length][..], &[0; 4][..], payload].concat()
}

/// A close frame with the code 1000 and a zero mask.
pub(super) const CLOSE: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
