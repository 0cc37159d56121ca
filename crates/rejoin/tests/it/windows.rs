//! Viewers with a window: what a stuck one costs, and what it gets when it continues.

use std::time::Duration;

use rejoin_protocol::{
    StreamNumber,
    binary::{BinaryHeader, BinaryKind},
};
use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    TestHome, TestServer,
    frame_client::{FrameClient, binary},
    wait_until,
};

/// Time limit for what a test waits for.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The window of the viewers.
const WINDOW: usize = 65_536;
/// The most that is sent ahead: half of the window, and one output message.
const MAX_AHEAD: usize = WINDOW / 2 + 128 * 1024;
/// The lines that the program prints, of 8 bytes each.
const LINES: usize = 500_000;

/// A viewer that parses only if the test does.
struct Viewer {
    client: FrameClient,
    stream: StreamNumber,
    /// The bytes of all binary messages.
    received: usize,
    /// The offset after the last one.
    offset: u64,
    last: Vec<u8>,
    snapshots: usize,
}

impl Viewer {
    fn attach(mut client: FrameClient, session: &str) -> Self {
        let attach = json!({ "session": session, "window": WINDOW, "writer": "tab" });
        let attached = client.request("attach", attach)["payload"].clone();
        assert_eq!(attached["window"], WINDOW, "{attached}");
        let stream = StreamNumber(u32::try_from(attached["stream"].as_u64().unwrap()).unwrap());
        Self { client, stream, received: 0, offset: 0, last: Vec::new(), snapshots: 0 }
    }

    fn read(&mut self) {
        let message = self.client.read_binary();
        let (head, data) = BinaryHeader::read(&message).unwrap();
        match head.kind {
            BinaryKind::Output => {
                assert_eq!(head.offset, self.offset, "a gap or a repeat");
                self.offset += data.len() as u64;
            }
            BinaryKind::Snapshot => {
                self.offset = head.offset;
                self.snapshots += 1;
            }
            _ => return,
        }
        self.received += message.len();
        self.last = data.to_vec();
    }

    /// Reads all that was sent before the answer to a message.
    fn read_all(&mut self) {
        let pong = self.client.request("ping", json!({}));
        assert_eq!(pong["type"], "pong", "{pong}");
        while self.client.has_unread_binary() {
            self.read();
        }
    }

    fn acknowledge(&self, parsed: usize) {
        self.client.send(&[binary(&self.parsed(parsed))]);
    }

    fn parsed(&self, parsed: usize) -> Vec<u8> {
        let offset = parsed as u64;
        BinaryHeader { kind: BinaryKind::Parsed, stream: self.stream, offset }.to_bytes()
    }
}

/// Starts a server whose profile `terminal` prints lines once it has read a line.
fn server(home: &TestHome) -> TestServer {
    let script = format!(
        "stty -echo; read line; seq -f '%07.0f' 1 {LINES}; printf '\\33]2;printed\\7'; \
         read line; echo typed $line; exec sleep 3600"
    );
    home.write(
        "rejoin.toml",
        &format!("[profiles.terminal]\ncommand = [\"sh\", \"-c\", {script:?}]\n"),
    );
    home.start_server()
}

fn create(client: &mut FrameClient) -> String {
    let created = client.request("create_session", json!({ "kind": "terminal" }));
    created["payload"]["session"]["id"].as_str().expect("a session").to_owned()
}

/// Attaches a viewer, and lets the program print while the viewer parses nothing.
fn stuck_viewer(server: &TestServer) -> (Viewer, String) {
    let mut client = server.frame_client(server.admin_token(), "laptop");
    let id = create(&mut client);
    let mut viewer = Viewer::attach(client, &id);
    viewer.client.request("input", json!({ "session": id, "data": "\n" }));
    wait_until(TIMEOUT, "the lines are printed", || server.session(&id)["title"] == "printed");
    (viewer, id)
}

#[test]
fn a_stuck_viewer_costs_one_window_and_gets_the_screen() {
    let home = TestHome::new();
    let server = server(&home);
    let (mut viewer, id) = stuck_viewer(&server);

    // The server may still be sending when the lines are printed.
    wait_until(TIMEOUT, "most of the window is used", || {
        viewer.read_all();
        viewer.received > WINDOW / 2
    });
    assert!(viewer.received <= MAX_AHEAD, "{} bytes", viewer.received);
    assert_eq!(viewer.snapshots, 1);

    // Its keys arrive meanwhile. The program's answer waits as well.
    let typed = viewer.client.request("input", json!({ "session": id, "data": "a\n" }));
    assert_eq!(typed["type"], "ack", "{typed}");
    wait_until(TIMEOUT, "the answer is printed", || {
        let screen = server.admin_api().text(&format!("/sessions/{id}/screen"));
        screen.contains("typed a")
    });
    viewer.read_all();
    assert!(viewer.received <= MAX_AHEAD, "{} bytes", viewer.received);
    assert_eq!(viewer.snapshots, 1);

    let before = viewer.received;
    viewer.acknowledge(viewer.received);
    while !String::from_utf8_lossy(&viewer.last).contains("typed a") {
        viewer.read();
    }
    assert_eq!(viewer.snapshots, 2);
    let screen = String::from_utf8_lossy(&viewer.last);
    assert!(screen.contains(&format!("{LINES:07}")), "{screen}");
    assert!(viewer.received - before < 50_000, "{} bytes", viewer.received - before);
}

#[test]
fn a_viewer_that_acknowledges_late_continues_exactly() {
    let home = TestHome::new();
    let server = server(&home);
    let mut client = server.frame_client(server.admin_token(), "laptop");
    let id = create(&mut client);
    let mut viewer = Viewer::attach(client, &id);
    viewer.client.request("input", json!({ "session": id, "data": "\n" }));

    let end = LINES as u64 * 9;
    let mut acknowledged = 0;
    while viewer.offset < end {
        viewer.read();
        assert!(viewer.received - acknowledged <= WINDOW + viewer.last.len());
        if viewer.received - acknowledged >= WINDOW / 4 {
            acknowledged = viewer.received;
            viewer.acknowledge(acknowledged);
        }
    }
}

#[test]
fn a_stuck_viewer_delays_no_stop() {
    let home = TestHome::new();
    let server = server(&home);
    let (mut viewer, _) = stuck_viewer(&server);

    let (code, log) = server.stop_within(TIMEOUT, Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(viewer.client.close_code(), 4000);
}

#[test]
fn wrong_windows_and_acknowledgements_are_refused() {
    let home = TestHome::new();
    let server = server(&home);
    let mut client = server.frame_client(server.admin_token(), "laptop");
    let id = create(&mut client);
    let refused = client.request("attach", json!({ "session": id, "window": 262_145 }));
    assert_eq!(refused["payload"]["code"], "invalid_field", "{refused}");
    let sentence = refused["payload"]["message"].as_str().unwrap();
    assert!(sentence.contains("from 16384 to 262144"), "{sentence}");

    let mut viewer = Viewer::attach(client, &id);
    viewer.acknowledge(WINDOW);
    let refused = viewer.client.wait_for(|message| message["type"] == "error").unwrap();
    assert_eq!(refused["payload"]["code"], "invalid_field", "{refused}");

    // Bytes after the count are no acknowledgement.
    viewer.client.send(&[binary(&[&viewer.parsed(0)[..], b"x"].concat())]);
    assert_eq!(viewer.client.close_code(), 4505);
}
