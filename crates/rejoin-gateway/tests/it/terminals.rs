//! Terminals over WebSockets.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use rejoin_core::{Control, MemoryTerminal, TerminalEvent};
use rejoin_protocol::binary::{BinaryHeader, BinaryKind};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, TestServer};

/// The view of one viewer: the bytes of the snapshot, then those of the output.
#[derive(Default)]
struct View {
    bytes: Vec<u8>,
    epoch: String,
    stream: u64,
    snapshots: u32,
    /// Nothing was received yet, so there is no position to resume from.
    blank: bool,
}

impl View {
    fn new() -> Self {
        Self { blank: true, ..Self::default() }
    }

    async fn attach(&mut self, client: &mut Client, session: &str) -> Value {
        let mut attach = json!({ "session": session, "cols": 80, "rows": 24 });
        if !self.blank {
            attach["position"] = format!("{}.{}", self.epoch, self.bytes.len()).into();
        }
        let attached = client.ask("attach", attach).await;
        let payload = attached["payload"].clone();
        self.stream = payload["stream"].as_u64().expect("a stream");
        let (epoch, _) = payload["position"].as_str().unwrap().split_once('.').unwrap();
        epoch.clone_into(&mut self.epoch);
        payload
    }

    fn take(&mut self, message: &Message) {
        let Message::Binary(message) = message else { return };

        let (head, bytes) = BinaryHeader::read(message).unwrap();
        assert_eq!(u64::from(head.stream.0), self.stream);
        match head.kind {
            BinaryKind::Snapshot => {
                self.bytes = bytes.to_vec();
                self.snapshots += 1;
                self.blank = false;
            }
            BinaryKind::Output => {
                assert_eq!(head.offset, self.bytes.len() as u64, "a gap or a repeat");
                self.bytes.extend_from_slice(bytes);
            }
            BinaryKind::InputAck => {}
            BinaryKind::Input | BinaryKind::Parsed => panic!("a client's message from a server"),
        }
    }

    /// Reads until the view has `length` bytes.
    async fn read_until(&mut self, client: &mut Client, length: usize) {
        while self.bytes.len() < length {
            let message = client.next().await.expect("more output");
            self.take(&message);
        }
    }
}

async fn print(program: &MemoryTerminal, text: &str) {
    let output = TerminalEvent::Output(Bytes::copy_from_slice(text.as_bytes()));
    program.events.send(output).await.unwrap();
}

#[tokio::test]
async fn two_viewers_see_the_same_output_and_both_type() {
    let mut server = TestServer::start().await;
    let (mut one, mut two) = (server.log_in("ann").await, server.log_in("ann").await);
    let session = one.create_session().await;
    let mut program = server.programs.recv().await.unwrap();
    print(&program, "$ ").await;
    let (mut left, mut right) = (View::new(), View::new());

    assert_eq!(left.attach(&mut one, &session).await["verdict"], "fresh");
    assert_eq!(right.attach(&mut two, &session).await["verdict"], "fresh");

    let head = BinaryHeader {
        kind: BinaryKind::Input,
        stream: rejoin_protocol::StreamNumber(u32::try_from(left.stream).unwrap()),
        offset: 1,
    };

    one.send(Message::binary([&head.to_bytes()[..], b"ls\r"].concat())).await;
    two.send(
        json!({ "id": "i", "type": "input", "payload": { "session": session, "data": "pwd\r" } })
            .to_string(),
    )
    .await;
    let mut typed = Vec::new();
    while typed.len() < 2 {
        if let Control::Input { number, bytes, .. } = program.controls.recv().await.unwrap() {
            program.written.send(number).unwrap();
            typed.push(bytes);
        }
    }

    typed.sort();
    assert_eq!(typed, ["ls\r", "pwd\r"]);

    print(&program, "file\r\n").await;
    left.read_until(&mut one, 8).await;
    right.read_until(&mut two, 8).await;
    assert_eq!(left.bytes, b"$ file\r\n");
    assert_eq!(left.bytes, right.bytes);
}

#[tokio::test]
async fn a_resumed_viewer_receives_only_the_missing_bytes() {
    let mut server = TestServer::start().await;
    let mut client = server.log_in("ann").await;
    let session = client.create_session().await;
    let program = server.programs.recv().await.unwrap();
    print(&program, "before").await;
    let mut view = View::new();
    view.attach(&mut client, &session).await;
    view.read_until(&mut client, 6).await;
    drop(client);
    print(&program, " and after").await;
    let mut client = server.log_in("ann").await;
    let attached = view.attach(&mut client, &session).await;

    assert_eq!(attached["verdict"], "resumed");

    view.read_until(&mut client, 16).await;
    assert_eq!(view.bytes, b"before and after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_disconnects_under_load_lose_or_repeat_no_byte() {
    let mut server = TestServer::start().await;
    let mut client = server.log_in("ann").await;
    let session = client.create_session().await;
    let program = server.programs.recv().await.unwrap();

    // The number of lines that may be printed. Printing continues while the viewer is disconnected.
    let allowance = Arc::new(Semaphore::new(0));
    let (lines, done) = (Arc::clone(&allowance), Arc::new(Notify::new()));
    let end = Arc::clone(&done);
    let load = server.hub.shutdown().spawn(async move {
        let mut printed = String::new();
        loop {
            tokio::select! {
                permit = lines.acquire() => permit.unwrap().forget(),
                () = end.notified() => return (program, printed),
            }

            let line = format!("{:>99}\n", printed.len());
            print(&program, &line).await;
            printed.push_str(&line);
        }
    });

    let mut view = View::new();
    let mut verdicts = BTreeMap::<String, u32>::new();
    for cut in 0..100usize {
        let attached = view.attach(&mut client, &session).await;
        *verdicts.entry(attached["verdict"].as_str().unwrap().to_owned()).or_default() += 1;

        // Every twentieth time more than the stream retains, so that the viewer gets a snapshot.
        allowance.add_permits(if cut % 20 == 19 { 12_000 } else { 50 });
        let enough = view.bytes.len() + cut * 37 % 5000;
        view.read_until(&mut client, enough).await;
        drop(client);
        client = server.log_in("ann").await;
    }

    while allowance.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    done.notify_one();
    let (_program, printed) = load.await.unwrap();
    view.attach(&mut client, &session).await;
    view.read_until(&mut client, printed.len()).await;

    assert!(view.bytes == printed.as_bytes(), "the view differs from the output");
    assert_eq!(verdicts.get("gap"), None);
    assert!(verdicts.contains_key("resumed"), "{verdicts:?}");
}

#[tokio::test]
async fn a_viewer_that_is_behind_skips_to_a_snapshot() {
    let mut server = TestServer::start().await;
    let mut client = server.log_in("ann").await;
    let session = client.create_session().await;
    let program = server.programs.recv().await.unwrap();
    let mut view = View::new();
    view.attach(&mut client, &session).await;

    // More than the socket and the stream hold together, while the viewer does not read.
    let block = "0123456789abcdef".repeat(2048);
    let mut printed = String::new();
    while printed.len() < 12 << 20 {
        print(&program, &block).await;
        printed.push_str(&block);
    }

    // Then it reads, while more output follows.
    view.read_until(&mut client, printed.len()).await;
    for number in 0..100 {
        let line = format!("{number}\n");
        print(&program, &line).await;
        printed.push_str(&line);
    }

    view.read_until(&mut client, printed.len()).await;
    assert!(view.bytes == printed.as_bytes(), "the view differs from the output");
    assert!(view.snapshots > 1, "the viewer was never behind");
}

#[tokio::test]
async fn an_exit_is_announced_and_the_session_closes() {
    let mut server = TestServer::start().await;
    let mut client = server.log_in("ann").await;
    let session = client.create_session().await;
    let program = server.programs.recv().await.unwrap();
    View::new().attach(&mut client, &session).await;
    let exit = rejoin_protocol::Exit { code: Some(0), signal: None };
    program.events.send(TerminalEvent::Exit(exit)).await.unwrap();
    let update = loop {
        let message = client.next_json().await;
        if message["payload"]["exit"].is_object() {
            break message;
        }
    };

    assert_eq!(update["payload"]["status"], "terminated");
    assert_eq!(update["payload"]["exit"], json!({ "code": 0, "signal": null }));
    assert_eq!(client.ask("close_session", json!({ "session": session })).await["type"], "ack");

    let again = client.ask("attach", json!({ "session": session })).await;
    assert_eq!(again["payload"]["code"], "unknown_session");
    assert_eq!(client.ask("detach", json!({ "session": session })).await["type"], "ack");
}

#[tokio::test]
async fn a_detached_viewer_is_not_counted_and_receives_nothing() {
    let mut server = TestServer::start().await;
    let mut client = server.log_in("ann").await;
    let session = client.create_session().await;
    let program = server.programs.recv().await.unwrap();
    View::new().attach(&mut client, &session).await;

    assert_eq!(client.ask("detach", json!({ "session": session })).await["type"], "ack");

    print(&program, "not received").await;
    assert_eq!(client.ask("ping", json!({})).await["type"], "pong");

    let id = rejoin_protocol::SessionId::new(&session).unwrap();
    let ann = rejoin_protocol::UserId::new("ann").unwrap();
    let mut ann = rejoin_core::Identity::new(ann, rejoin_core::Caps::user());
    let right = rejoin_core::SessionRight::Attach;

    assert_eq!(server.hub.session(&id, &ann, right).unwrap().info().connections, 0);

    ann.caps = rejoin_core::Caps::default();
    assert!(server.hub.session(&id, &ann, right).is_err());
}
