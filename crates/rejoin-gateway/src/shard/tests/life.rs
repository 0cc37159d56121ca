//! The life of connections: whatever comes in whatever order, nothing is executed after a close,
//! and nothing is left behind.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::FutureExt;
use proptest::prelude::*;
use rejoin_auth::Target;
use rejoin_core::{Caps, Connection, Identity};
use rejoin_protocol::{CloseCode, Subject, TopicName, UserId, code::CLOSE_CODES};
use serde_json::{Value, json, value::to_raw_value};

use super::{CLOSE, MAX_CONNECTIONS, Peer, Stage, text};

const USERS: [&str; 3] = ["ann", "bob", "cat"];
/// Longer than any deadline of a connection.
const FOR_EVER: Duration = Duration::from_secs(130);

/// What happens to a connection, or to the shard.
#[derive(Clone, Debug)]
enum Step {
    Connect(usize),
    /// Publishes so many messages in one piece.
    Publish(usize, u8),
    /// Publishes, cut within the last message.
    PublishCut(usize, u8),
    /// Subscribes to the topic that all publish to.
    Subscribe(usize),
    /// Asks for a session to be created: a job, which is refused.
    Create(usize),
    Ping(usize),
    Garbage(usize),
    CloseFrame(usize),
    HalfClose(usize),
    /// The peer is gone without a word.
    Vanish(usize),
    /// The peer reads what has arrived; otherwise it never does.
    Read(usize),
    /// An administrator closes the connection.
    Disconnect(usize),
    /// All tokens of a user are revoked.
    Revoke(usize),
    /// Messages of 3 kB from elsewhere, to fill sockets.
    Flood(u8),
    Settle,
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
        8 => Just(Step::Settle),
        2 => (1u8..50).prop_map(Step::Wait),
        1 => Just(Step::Drain),
    ]
}

/// A connection as the test knows it.
struct Known {
    peer: Option<Peer>,
    user: &'static str,
    /// The number of the next message that it publishes.
    next: u64,
    /// How many of its messages were published when its close was decided.
    closed_at: Option<usize>,
}

struct World {
    stage: Stage,
    known: Vec<Known>,
    is_draining: bool,
}

impl World {
    fn new() -> Self {
        let stage = Stage::new(|_| {});
        Self { stage, known: Vec::new(), is_draining: false }
    }

    /// Lets the peer that a step means act, if it is there.
    fn with_peer(&mut self, index: usize, act: impl FnOnce(&mut Peer)) {
        let Some(number) = index.checked_rem(self.known.len()) else { return };
        if let Some(peer) = &mut self.known[number].peer {
            act(peer);
        }
    }

    /// How many messages of each connection were published.
    fn published(&self) -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        for data in self.stage.published("all") {
            if let Some(number) = data["from"].as_u64() {
                *counts.entry(number).or_default() += 1;
            }
        }
        counts
    }

    fn publish(&mut self, index: usize, count: u8, cut: usize) {
        let Some(number) = index.checked_rem(self.known.len()) else { return };
        let known = &mut self.known[number];
        let mut bytes = Vec::new();
        for _ in 0..count {
            let data = json!({ "from": number, "number": known.next });
            let payload = json!({ "topic": "all", "data": data });
            bytes.extend(text(&json!({ "type": "publish", "payload": payload }).to_string()));
            known.next += 1;
        }
        bytes.truncate(bytes.len() - cut);
        if let Some(peer) = &mut known.peer {
            peer.send(&bytes);
        }
    }

    fn flood(&self, count: u8) {
        let admin = Identity::new(UserId::new("admin").unwrap(), Caps::admin());
        let topic = TopicName::new("all").unwrap();
        let data = to_raw_value(&Value::from("x".repeat(3000))).unwrap();
        for _ in 0..count {
            let published = self.stage.gateway.hub.publish(&topic, &admin, &data, None);
            let _ = published.now_or_never();
        }
    }

    /// Notes which connections are closed: nothing of them is executed from now on.
    fn note_closed(&mut self, is_closed: impl Fn(usize, &Known) -> bool) {
        let published = self.published();
        for (number, known) in self.known.iter_mut().enumerate() {
            if known.closed_at.is_none() && is_closed(number, known) {
                let count = published.get(&(number as u64)).copied().unwrap_or(0);
                known.closed_at = Some(count);
            }
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            // A connection that comes during a stop is closed at once.
            Step::Connect(user) if self.known.len() < MAX_CONNECTIONS => {
                let user = USERS[user];
                let peer = Some(self.stage.connect(user));
                self.known.push(Known { peer, user, next: 0, closed_at: None });
            }
            Step::Connect(_) => {}
            Step::Publish(index, count) => self.publish(index, count, 0),
            Step::PublishCut(index, count) => self.publish(index, count, 7),
            Step::Subscribe(index) => self.with_peer(index, |peer| {
                peer.ask("subscribe", &json!({ "topic": "all" }));
            }),
            Step::Create(index) => self.with_peer(index, |peer| {
                peer.ask("create_session", &json!({ "kind": "terminal" }));
            }),
            Step::Ping(index) => self.with_peer(index, |peer| {
                peer.ask("ping", &json!({}));
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
                if let Some(number) = index.checked_rem(self.known.len()) {
                    self.known[number].peer = None;
                }
            }
            Step::Read(index) => self.with_peer(index, |peer| {
                peer.read();
                peer.flush();
            }),
            Step::Disconnect(user) => {
                let user = USERS[user % USERS.len()];
                let hub = &self.stage.gateway.hub;
                hub.disconnect(CloseCode::Disconnected, |it| it.user().as_str() == user);
                self.note_closed(|_, known| known.user == user);
            }
            Step::Revoke(user) => {
                let user = USERS[user];
                let shared = Arc::clone(&self.stage.gateway);
                let verifier = &shared.config.verifier;
                let target = Target::User(UserId::new(user).unwrap());
                verifier.revocations().unwrap().revoke(target, None).await.unwrap();
                let is_revoked = |it: &Connection| verifier.recheck(&it.identity()).is_err();
                shared.hub.disconnect(CloseCode::Disconnected, is_revoked);
                self.note_closed(|_, known| known.user == user);
            }
            Step::Flood(count) => self.flood(count),
            Step::Settle => self.stage.settle().await,
            Step::Wait(tenths) => {
                self.stage.advance(Duration::from_millis(u64::from(tenths) * 1000)).await;
            }
            Step::Drain => {
                self.stage.shard.drain();
                self.is_draining = true;
                self.stage.settle().await;
                self.note_closed(|_, _| true);
            }
        }
    }

    /// Checks what must hold at all times.
    fn check(&self) {
        let published = self.published();
        for (number, known) in self.known.iter().enumerate() {
            let count = published.get(&(number as u64)).copied().unwrap_or(0);
            if let Some(closed_at) = known.closed_at {
                assert_eq!(count, closed_at, "connection {number} published after its close");
            }
        }
        let hub = &self.stage.gateway.hub;
        let taken = MAX_CONNECTIONS - self.stage.gateway.permits.available_permits();
        assert_eq!(taken, hub.connection_count(), "a permit is kept or lost");
        assert_eq!(taken, self.stage.shard.context.drain.open());
    }

    /// Ends all, and checks that nothing is left.
    async fn end(mut self) {
        self.stage.shard.drain();
        self.stage.advance(FOR_EVER).await;
        self.check();
        let shard = &self.stage.shard;
        assert!(shard.connections.is_empty(), "{:?}", shard.connections);
        assert!(shard.streams.is_empty(), "readers are left");
        assert_eq!(shard.handle.load(), 0);

        let hub = &self.stage.gateway.hub;
        assert_eq!(hub.connection_count(), 0);
        let admin = UserId::new("admin").unwrap();
        let admin = Identity::new(admin, Caps::admin());
        let topic = TopicName::new("all").unwrap();
        let presence = hub.presence(&admin, &Subject::Topic(topic)).unwrap();
        assert_eq!(presence.users, 0, "presence is left");
        let closed: u64 = CLOSE_CODES
            .iter()
            .map(|row| hub.metrics().closed.get_or_create(&[("code", row.code)]).get())
            .sum();
        assert_eq!(closed, self.known.len() as u64, "each close is counted once");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_executed_after_a_close_and_nothing_is_left_behind(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.step(step).await;
                world.check();
            }
            world.end().await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_lie_unread_at_a_disconnect_are_not_executed() {
    let mut world = World::new();
    world.step(Step::Connect(0)).await;
    world.step(Step::Publish(0, 3)).await;
    world.step(Step::Settle).await;
    assert_eq!(world.published(), [(0, 3)].into());
    world.step(Step::Publish(0, 2)).await;
    world.step(Step::Disconnect(0)).await;
    world.step(Step::Settle).await;
    assert_eq!(world.published(), [(0, 3)].into());
    world.end().await;
}

/// What a program that embeds the gateway may bring: a subscriber of log lines that panics.
struct Panics;

impl tracing::Subscriber for Panics {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        // A line about a broken frame.
        assert!(event.fields().all(|field| field.name() != "error"), "as it was to happen");
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_panic_within_the_shard_closes_its_connection_with_4005_and_no_other() {
    let mut stage = Stage::new(|_| {});
    let (mut broken, mut other) = (stage.connect("ann"), stage.connect("bob"));
    stage.settle().await;
    broken.read();
    other.read();
    // A frame that is not masked.
    broken.send(&[0x81, 0x00]);
    {
        let _subscriber = tracing::subscriber::set_default(Panics);
        stage.settle().await;
    }
    let close = broken.read();
    let code = CloseCode::Internal.code().to_be_bytes();
    assert!(close.windows(2).any(|window| window == code), "{:?}", String::from_utf8_lossy(&close));
    other.ask("ping", &json!({}));
    stage.settle().await;
    assert!(String::from_utf8_lossy(&other.read()).contains("\"type\":\"pong\""));
    assert_eq!(stage.gateway.hub.connection_count(), 1);
}
