//! Viewers that acknowledge what they have parsed: late, partly, or never.

use bytes::Bytes;
use proptest::prelude::*;
use rejoin_core::{MemoryTerminal, TerminalEvent};
use rejoin_protocol::{
    StreamNumber,
    binary::{BinaryHeader, BinaryKind},
};
use rejoin_websocket::{Decoder, Event, Side};
use serde_json::{Value, json};

use super::{TestPeer, TestShard, binary};

/// Turns of the shard in which a viewer must reach a state.
const MAX_TURNS: usize = 300;

/// A viewer that compares what it has received with its window.
struct Viewer {
    peer: TestPeer,
    decoder: Decoder,
    session: String,
    stream: StreamNumber,
    window: u64,
    /// The state after all received messages; `None` before the first snapshot.
    screen: Option<Vec<u8>>,
    received: u64,
    acknowledged: u64,
    /// The size of the largest received message.
    largest: u64,
    snapshots: usize,
    errors: Vec<Value>,
}

impl Viewer {
    /// Attaches to a new session.
    async fn attach(test: &mut TestShard, window: u64) -> (Self, MemoryTerminal) {
        let peer = test.connect_with_buffers("ann", 65_536);
        let mut viewer = Self {
            peer,
            decoder: Decoder::new(Side::Client, 16 << 20),
            session: String::new(),
            stream: StreamNumber(0),
            window,
            screen: None,
            received: 0,
            acknowledged: 0,
            largest: 0,
            snapshots: 0,
            errors: Vec::new(),
        };

        let create = json!({ "kind": "terminal", "profile": "memory" });
        viewer.peer.request("create_session", &create);
        test.run_until_idle().await;
        let terminal = test.terminals.try_recv().unwrap();
        viewer.until(test, |viewer| !viewer.session.is_empty()).await;
        let attach = json!({ "session": viewer.session, "window": window });
        viewer.peer.request("attach", &attach);
        viewer.until(test, |viewer| viewer.screen.is_some()).await;
        (viewer, terminal)
    }

    /// Reads what has arrived.
    fn read(&mut self) {
        let mut bytes = self.peer.read();
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(Side::Client, 0));
        let mut feed = decoder.feed(&mut bytes);
        while let Some(event) = feed.next().unwrap() {
            match event {
                Event::Text(text) => self.take_text(&serde_json::from_str(text).unwrap()),
                Event::Binary(message) => self.take_binary(message),
                Event::Ping(_) | Event::Pong(_) => {}
                Event::Close(_) => panic!("the server closed the connection"),
            }
        }
        self.decoder = decoder;
    }

    fn take_text(&mut self, message: &Value) {
        let payload = &message["payload"];
        if let Some(id) = payload["session"]["id"].as_str() {
            id.clone_into(&mut self.session);
        }
        if message["type"] == "attached" {
            self.stream = StreamNumber(u32::try_from(payload["stream"].as_u64().unwrap()).unwrap());
            assert_eq!(payload["window"].as_u64().unwrap_or(u64::MAX), self.window, "{payload}");
            (self.received, self.acknowledged) = (0, 0);
        }
        if message["type"] == "error" {
            self.errors.push(payload.clone());
        }
    }

    fn take_binary(&mut self, message: &[u8]) {
        let (head, data) = BinaryHeader::read(message).unwrap();
        let size = message.len() as u64;
        self.received += size;
        self.largest = self.largest.max(size);

        // A message above half of the window is sent only if half of it is free.
        let ahead = self.received - self.acknowledged;
        assert!(ahead <= self.window.max(self.window / 2 + size), "{ahead} bytes ahead");

        match head.kind {
            BinaryKind::Snapshot => {
                self.screen = Some(data.to_vec());
                self.snapshots += 1;
            }
            BinaryKind::Output => {
                let screen = self.screen.as_mut().expect("output after a snapshot");
                assert_eq!(head.offset, screen.len() as u64, "a gap or a repeat");
                screen.extend_from_slice(data);
            }
            kind => panic!("{kind:?}"),
        }
    }

    fn acknowledge(&mut self, parsed: u64) {
        self.acknowledged = self.acknowledged.max(parsed.min(self.received));
        let head = BinaryHeader { kind: BinaryKind::Parsed, stream: self.stream, offset: parsed };
        self.peer.send(&binary(&head.to_bytes()));
    }

    /// Turns the shard and reads until a condition holds.
    async fn until(&mut self, test: &mut TestShard, holds: impl Fn(&Self) -> bool) {
        for _ in 0..MAX_TURNS {
            self.read();
            if holds(self) {
                return;
            }
            test.wait_for_sockets();
            test.run_until_idle().await;
        }
        panic!("after {} bytes and {} snapshots", self.received, self.snapshots);
    }

    fn screen_bytes(&self) -> usize {
        self.screen.as_ref().map_or(0, Vec::len)
    }
}

/// Prints bytes that differ by their offset.
async fn print(terminal: &MemoryTerminal, printed: &mut Vec<u8>, count: usize) {
    let from = printed.len();
    printed.extend((from..from + count).map(|at| b'a' + u8::try_from(at % 23).unwrap()));
    let output = Bytes::copy_from_slice(&printed[from..]);
    terminal.events.send(TerminalEvent::Output(output)).await.unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Print(usize),
    /// Acknowledges this share of what is received and not yet acknowledged, in per cent.
    Acknowledge(u64),
    /// Reads while the shard turns a few times.
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![1..40usize, 1000..60_000usize].prop_map(Step::Print),
        3 => (0..=100u64).prop_map(Step::Acknowledge),
        3 => Just(Step::Read),
    ]
}

fn run<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_acknowledgements_lead_to_the_exact_screen(
        window in 16_384..=262_144u64,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        run(async {
            let mut test = TestShard::new(|_| {});
            let (mut viewer, terminal) = Viewer::attach(&mut test, window).await;
            let mut printed = Vec::new();
            for step in steps {
                match step {
                    Step::Print(count) => print(&terminal, &mut printed, count).await,
                    Step::Acknowledge(share) => {
                        let unknown = viewer.received - viewer.acknowledged;
                        viewer.acknowledge(viewer.acknowledged + unknown * share / 100);
                    }
                    Step::Read => viewer.read(),
                }
                test.run_until_idle().await;
            }

            // From here on as late as a client may be: a quarter of the window stays unacknowledged.
            for _ in 0..MAX_TURNS {
                viewer.until(&mut test, |_| true).await;
                if viewer.screen.as_ref() == Some(&printed) {
                    break;
                }
                if (viewer.received - viewer.acknowledged) * 4 >= window {
                    viewer.acknowledge(viewer.received);
                }
                test.wait_for_sockets();
                test.run_until_idle().await;
            }
            assert!(viewer.screen.as_ref() == Some(&printed), "{}", viewer.screen_bytes());
            assert!(viewer.errors.is_empty(), "{:?}", viewer.errors);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_parses_again_gets_the_screen() {
    const WINDOW: u64 = 65_536;
    let mut test = TestShard::new(|_| {});
    let (mut viewer, terminal) = Viewer::attach(&mut test, WINDOW).await;
    let mut printed = Vec::new();
    for _ in 0..40 {
        print(&terminal, &mut printed, 20_000).await;
        viewer.until(&mut test, |_| true).await;
        test.run_until_idle().await;
    }

    // It has three messages of 20 kB, and reads nothing more, however long it waits.
    viewer.until(&mut test, |viewer| viewer.screen_bytes() == 60_000).await;
    assert_eq!(viewer.snapshots, 1);
    let sent = test.gateway.metrics.snapshots_sent.get();

    // There is no room for a snapshot until half of the window is free.
    viewer.acknowledge(1000);
    viewer.until(&mut test, |_| true).await;
    test.run_until_idle().await;
    assert_eq!(test.gateway.metrics.snapshots_sent.get(), sent);

    viewer.acknowledge(viewer.received);
    viewer.until(&mut test, |viewer| viewer.screen_bytes() == 800_000).await;
    assert_eq!(viewer.snapshots, 2, "the backlog was sent");
    assert_eq!(test.gateway.metrics.snapshots_sent.get(), sent + 1);
    assert_eq!(viewer.screen, Some(printed));
}

#[tokio::test(start_paused = true)]
async fn invalid_acknowledgements_are_refused() {
    let mut test = TestShard::new(|_| {});
    let (mut viewer, terminal) = Viewer::attach(&mut test, 16_384).await;
    let mut printed = Vec::new();
    print(&terminal, &mut printed, 100).await;
    viewer.until(&mut test, |viewer| viewer.screen_bytes() == 100).await;

    viewer.acknowledge(viewer.received + 1);
    viewer.until(&mut test, |viewer| !viewer.errors.is_empty()).await;
    let error = viewer.errors.pop().unwrap();
    assert_eq!(error["code"], "invalid_field");
    let sentence = error["message"].as_str().unwrap();
    assert!(sentence.contains(&format!("at most the {} bytes", viewer.received)), "{sentence}");

    // An older count changes nothing.
    viewer.acknowledge(viewer.received);
    viewer.acknowledge(0);
    let stream = std::mem::replace(&mut viewer.stream, StreamNumber(99));
    viewer.acknowledge(0);
    viewer.until(&mut test, |viewer| !viewer.errors.is_empty()).await;
    assert_eq!(viewer.errors.pop().unwrap()["code"], "not_attached");

    viewer.stream = stream;
    viewer.peer.request("attach", &json!({ "session": viewer.session }));
    viewer.window = u64::MAX;
    test.run_until_idle().await;
    viewer.acknowledge(0);
    viewer.until(&mut test, |viewer| !viewer.errors.is_empty()).await;
    let sentence = viewer.errors[0]["message"].to_string();
    assert!(sentence.contains("no `window`"), "{sentence}");
}
