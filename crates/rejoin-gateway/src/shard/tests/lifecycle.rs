//! The lifecycle of connections: after any sequence of events, nothing is executed after a close,
//! and nothing is left behind.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::FutureExt;
use proptest::prelude::*;
use rejoin_auth::Target;
use rejoin_core::{Caps, Connection, Identity};
use rejoin_protocol::{CloseCode, Subject, TopicName, UserId, code::CLOSE_CODES};
use serde_json::{Value, json, value::to_raw_value};

use super::{CLOSE, MAX_CONNECTIONS, TestPeer, TestShard, text};

const USERS: [&str; 3] = ["ann", "bob", "cat"];
/// A time that exceeds every deadline of a connection.
const ALL_DEADLINES: Duration = Duration::from_secs(130);

/// An event of a connection or of the shard. A `usize` selects the connection or the user.
#[derive(Clone, Debug)]
enum Step {
    Connect(usize),
    /// Publishes this many messages in one write.
    Publish(usize, u8),
    /// The same, but the last message is cut.
    PublishCut(usize, u8),
    /// Subscribes to the topic of all publishes.
    Subscribe(usize),
    /// Requests a new session: a job, which is refused.
    Create(usize),
    Ping(usize),
    Garbage(usize),
    CloseFrame(usize),
    HalfClose(usize),
    /// The peer closes its socket without a close frame.
    Vanish(usize),
    /// The peer reads what has arrived. It does not read otherwise.
    Read(usize),
    /// An administrator closes the connection.
    Disconnect(usize),
    /// An administrator revokes all tokens of a user.
    Revoke(usize),
    /// Another publisher sends this many messages of 3 kB, which fill the sockets.
    Flood(u8),
    RunUntilIdle,
    /// The clock advances by this many seconds.
    Wait(u8),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let peer = 0usize..6;
    let p = || peer.clone();
    prop_oneof![
        6 => (0usize..3).prop_map(Step::Connect),
        8 => (p(), 1u8..6).prop_map(|(peer, count)| Step::Publish(peer, count)),
        3 => (p(), 1u8..3).prop_map(|(peer, count)| Step::PublishCut(peer, count)),
        4 => p().prop_map(Step::Subscribe),
        2 => p().prop_map(Step::Create),
        1 => p().prop_map(Step::Ping),
        1 => p().prop_map(Step::Garbage),
        2 => p().prop_map(Step::CloseFrame),
        2 => p().prop_map(Step::HalfClose),
        2 => p().prop_map(Step::Vanish),
        3 => p().prop_map(Step::Read),
        3 => p().prop_map(Step::Disconnect),
        1 => (0usize..3).prop_map(Step::Revoke),
        3 => (1u8..20).prop_map(Step::Flood),
        8 => Just(Step::RunUntilIdle),
        2 => (1u8..50).prop_map(Step::Wait),
        1 => Just(Step::Drain),
    ]
}

/// The test's model of a connection.
struct TestConnection {
    peer: Option<TestPeer>,
    user: &'static str,
    /// The number of its next message.
    next: u64,
    /// The number of its published messages at the time of its close.
    closed_at: Option<usize>,
}

/// A shard and the model that it is checked against.
struct Scenario {
    test: TestShard,
    connections: Vec<TestConnection>,
    is_draining: bool,
}

impl Scenario {
    fn new() -> Self {
        let test = TestShard::new(|_| {});
        Self { test, connections: Vec::new(), is_draining: false }
    }

    /// Calls `act` with the selected peer, if its socket is open.
    fn with_peer(&mut self, index: usize, act: impl FnOnce(&mut TestPeer)) {
        let Some(number) = index.checked_rem(self.connections.len()) else { return };

        if let Some(peer) = &mut self.connections[number].peer {
            act(peer);
        }
    }

    /// Counts the published messages per connection.
    fn published(&self) -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        for data in self.test.published("all") {
            if let Some(number) = data["from"].as_u64() {
                *counts.entry(number).or_default() += 1;
            }
        }

        counts
    }

    fn publish(&mut self, index: usize, count: u8, cut: usize) {
        let Some(number) = index.checked_rem(self.connections.len()) else { return };

        let connection = &mut self.connections[number];
        let mut bytes = Vec::new();
        for _ in 0..count {
            let data = json!({ "from": number, "number": connection.next });
            let payload = json!({ "topic": "all", "data": data });
            bytes.extend(text(&json!({ "type": "publish", "payload": payload }).to_string()));
            connection.next += 1;
        }

        bytes.truncate(bytes.len() - cut);
        if let Some(peer) = &mut connection.peer {
            peer.send(&bytes);
        }
    }

    fn flood(&self, count: u8) {
        let admin = Identity::new(UserId::new("admin").unwrap(), Caps::admin());
        let topic = TopicName::new("all").unwrap();
        let data = to_raw_value(&Value::from("x".repeat(3000))).unwrap();
        for _ in 0..count {
            let published = self.test.gateway.hub.publish(&topic, &admin, &data, None);
            let _ = published.now_or_never();
        }
    }

    /// Records closed connections in the model. They must publish nothing more.
    fn record_closed(&mut self, is_closed: impl Fn(usize, &TestConnection) -> bool) {
        let published = self.published();
        for (number, connection) in self.connections.iter_mut().enumerate() {
            if connection.closed_at.is_none() && is_closed(number, connection) {
                let count = published.get(&(number as u64)).copied().unwrap_or(0);
                connection.closed_at = Some(count);
            }
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            // Allowed during a stop: the shard closes the connection at once.
            Step::Connect(user) if self.connections.len() < MAX_CONNECTIONS => {
                let user = USERS[user];
                let peer = Some(self.test.connect(user));
                self.connections.push(TestConnection { peer, user, next: 0, closed_at: None });
            }
            Step::Connect(_) => {}
            Step::Publish(index, count) => self.publish(index, count, 0),
            Step::PublishCut(index, count) => self.publish(index, count, 7),
            Step::Subscribe(index) => self.with_peer(index, |peer| {
                peer.request("subscribe", &json!({ "topic": "all" }));
            }),
            Step::Create(index) => self.with_peer(index, |peer| {
                peer.request("create_session", &json!({ "kind": "terminal" }));
            }),
            Step::Ping(index) => self.with_peer(index, |peer| {
                peer.request("ping", &json!({}));
            }),
            Step::Garbage(index) => self.with_peer(index, |peer| {
                peer.send(&[0xff; 9]);
            }),
            Step::CloseFrame(index) => self.with_peer(index, |peer| {
                peer.send(CLOSE);
            }),
            Step::HalfClose(index) => self.with_peer(index, |peer| {
                peer.half_close();
            }),
            Step::Vanish(index) => {
                if let Some(number) = index.checked_rem(self.connections.len()) {
                    self.connections[number].peer = None;
                }
            }
            Step::Read(index) => self.with_peer(index, |peer| {
                peer.read();
                peer.flush();
            }),
            Step::Disconnect(user) => {
                let user = USERS[user % USERS.len()];
                let hub = &self.test.gateway.hub;
                hub.disconnect(CloseCode::Disconnected, |it| it.user().as_str() == user);
                self.record_closed(|_, connection| connection.user == user);
            }
            Step::Revoke(user) => {
                let user = USERS[user];
                let shared = Arc::clone(&self.test.gateway);
                let verifier = &shared.config.verifier;
                let target = Target::User(UserId::new(user).unwrap());
                verifier.revocations().unwrap().revoke(target, None).await.unwrap();
                let is_revoked = |it: &Connection| verifier.recheck(&it.identity()).is_err();
                shared.hub.disconnect(CloseCode::Disconnected, is_revoked);
                self.record_closed(|_, connection| connection.user == user);
            }
            Step::Flood(count) => self.flood(count),
            Step::RunUntilIdle => self.test.run_until_idle().await,
            Step::Wait(seconds) => {
                self.test.advance(Duration::from_secs(seconds.into())).await;
            }
            Step::Drain => {
                self.test.shard.drain();
                self.is_draining = true;
                self.test.run_until_idle().await;
                self.record_closed(|_, _| true);
            }
        }
    }

    /// Checks the invariants that hold after each step.
    fn check(&self) {
        let published = self.published();
        for (number, connection) in self.connections.iter().enumerate() {
            let count = published.get(&(number as u64)).copied().unwrap_or(0);
            if let Some(closed_at) = connection.closed_at {
                assert_eq!(count, closed_at, "connection {number} published after its close");
            }
        }

        let hub = &self.test.gateway.hub;
        let taken = MAX_CONNECTIONS - self.test.gateway.permits.available_permits();
        assert_eq!(taken, hub.connection_count(), "a permit is leaked or lost");
        assert_eq!(taken, self.test.shard.context.drain.open_count());
    }

    /// Drains the shard, and checks that nothing is left.
    async fn end(mut self) {
        self.test.shard.drain();
        self.test.advance(ALL_DEADLINES).await;
        self.check();
        let shard = &self.test.shard;
        assert!(shard.connections.is_empty(), "{:?}", shard.connections);
        assert!(shard.streams.is_empty(), "readers are left");
        assert_eq!(shard.handle.load(), 0);

        let hub = &self.test.gateway.hub;
        assert_eq!(hub.connection_count(), 0);
        let admin = UserId::new("admin").unwrap();
        let admin = Identity::new(admin, Caps::admin());
        let topic = TopicName::new("all").unwrap();
        let presence = hub.presence(&admin, &Subject::Topic(topic)).unwrap();
        assert_eq!(presence.users, 0, "presence is left");
        let closed: u64 = CLOSE_CODES
            .iter()
            .map(|row| self.test.gateway.metrics.closed.get_or_create(&[("code", row.code)]).get())
            .sum();
        assert_eq!(closed, self.connections.len() as u64, "each close is counted once");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_executed_after_a_close_and_nothing_is_left(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut scenario = Scenario::new();
            for step in steps {
                scenario.step(step).await;
                scenario.check();
            }

            scenario.end().await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn unread_messages_are_not_executed_after_a_disconnect() {
    let mut scenario = Scenario::new();
    scenario.step(Step::Connect(0)).await;
    scenario.step(Step::Publish(0, 3)).await;
    scenario.step(Step::RunUntilIdle).await;

    assert_eq!(scenario.published(), [(0, 3)].into());

    scenario.step(Step::Publish(0, 2)).await;
    scenario.step(Step::Disconnect(0)).await;
    scenario.step(Step::RunUntilIdle).await;
    assert_eq!(scenario.published(), [(0, 3)].into());

    scenario.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_cuts_the_oldest_closing_connections_first() {
    let mut shard = TestShard::new(|_| {});
    let peers: Vec<_> = (0..9).map(|_| shard.connect("ann")).collect();

    // Together 72 MiB, of which 64 MiB may be pending. One allocation serves all.
    let pending = bytes::Bytes::from(vec![0; 8 * 1024 * 1024]);
    for slot in 0..peers.len() {
        shard.shard.connections[slot].output.push(pending.clone());
    }
    for slot in 0..4 {
        shard.shard.close(slot, CloseCode::TooSlow.into());
    }

    // Shortens the deadlines of the first four, and closes the others.
    shard.shard.drain();
    shard.shard.drain_next();

    let left: Vec<_> = shard.shard.connections.iter().map(|(slot, _)| slot).collect();
    assert_eq!(left, [2, 3, 4, 5, 6, 7, 8]);
}

/// A log subscriber that panics, as one of an embedding program might.
struct PanickingSubscriber;

impl tracing::Subscriber for PanickingSubscriber {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        // The line about an invalid frame has this field.
        assert!(event.fields().all(|field| field.name() != "error"), "an expected panic");
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_panic_closes_only_its_own_connection_with_4005() {
    let mut test = TestShard::new(|_| {});
    let (mut broken, mut other) = (test.connect("ann"), test.connect("bob"));
    test.run_until_idle().await;
    broken.read();
    other.read();

    // A frame without a mask, which the decoder refuses.
    broken.send(&[0x81, 0x00]);
    {
        let _subscriber = tracing::subscriber::set_default(PanickingSubscriber);
        test.run_until_idle().await;
    }

    let close = broken.read();
    let code = CloseCode::Internal.code().to_be_bytes();
    assert!(close.windows(2).any(|window| window == code), "{:?}", String::from_utf8_lossy(&close));

    other.request("ping", &json!({}));
    test.run_until_idle().await;
    assert!(String::from_utf8_lossy(&other.read()).contains("\"type\":\"pong\""));
    assert_eq!(test.gateway.hub.connection_count(), 1);
}
