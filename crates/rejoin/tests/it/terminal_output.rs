//! Programs whose output is the most expensive to handle.

use std::{fmt::Write as _, thread, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{TestHome, TestServer, frame_client::FrameClient, wait_until};

/// Time limit for a stop: the sum of its deadlines.
const STOP: Duration = Duration::from_secs(20);
/// Time limit for a program and its screen.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Largest snapshot in bytes, with the head of its binary message.
const MAX_SNAPSHOT_BYTES: usize = 1024 * 1024 + 32;

/// First byte of a binary message with a snapshot.
const SNAPSHOT: u8 = 3;

/// On a slow machine it takes many viewers until one is closed.
/// Many connections, of which none is closed because it does not answer pings.
const PATIENT: &str = "[limits]\nconnections_per_ip = { count = 0 }\nheartbeat = \"10m\"\n";

/// A server with one profile, and a client of it.
struct Fixture {
    home: TestHome,
    server: TestServer,
    client: FrameClient,
}

impl Fixture {
    /// Starts a server whose profile prints `output`, sets the title `printed` and waits.
    fn new(output: &[u8], configuration: &str) -> Self {
        let script = "cat ~/output; printf '\\33]2;printed\\7'; exec sleep 3600";
        Self::with_script(script, output, configuration)
    }

    /// Starts a server whose profile runs a script. The file `~/output` contains `output`.
    fn with_script(script: &str, output: &[u8], configuration: &str) -> Self {
        let home = TestHome::new();
        std::fs::write(home.path("output"), output).unwrap();
        // Raw, so that the terminal passes the output on unchanged.
        let script = format!("stty raw -echo; {script}");
        let profile = format!("[profiles.attack]\ncommand = [\"sh\", \"-c\", {script:?}]\n");
        home.write("rejoin.toml", &format!("{configuration}{profile}"));

        let server = home.start_server();
        let client = server.frame_client(server.admin_token(), "attacker");
        Self { home, server, client }
    }

    /// Starts the profile in a terminal of this size. Returns the id of the session.
    fn start(&mut self, cols: u16, rows: u16) -> String {
        let create = json!({ "kind": "terminal", "profile": "attack", "cols": cols, "rows": rows });
        let created = self.client.request("create_session", create);
        created["payload"]["session"]["id"].as_str().expect("a session").to_owned()
    }

    /// Waits until the screen shows all of the output, then attaches. Returns the reply.
    fn attach_to_printed(&mut self, session: &str) -> Value {
        self.wait_until_printed(session);
        self.client.request("attach", json!({ "session": session, "role": "viewer" }))
    }

    /// Waits until the screen shows all of the output.
    fn wait_until_printed(&self, session: &str) {
        let admin = self.server.admin_api();
        let path = format!("/sessions/{session}");
        wait_until(TIMEOUT, "the output is printed", || admin.get(&path).1["title"] == "printed");
    }

    /// Checks that a request of another user is answered.
    fn assert_others_are_served(&self) {
        let token = self.home.token("bob", "1h");
        let reply = self.server.frame_client(&token, "laptop").request("ping", json!({}));
        assert_eq!(reply["type"], "pong", "{reply}");
    }
}

#[test]
fn repeated_combining_characters_delay_neither_others_nor_a_stop() {
    let marks: String = (0..64).map(|_| '\u{301}').collect();
    // REP (`CSI b`) repeats a cell with 64 marks 65,535 times.
    let output = format!("e{marks}\x1b[65535b").repeat(60);
    let mut fixture = Fixture::new(output.as_bytes(), "");
    let sessions: Vec<_> = (0..3).map(|_| fixture.start(80, 24)).collect();

    fixture.assert_others_are_served();
    for session in &sessions {
        let attached = fixture.attach_to_printed(session);
        assert_eq!(attached["type"], "attached", "{attached}");
    }

    let (code, log) = fixture.server.stop_within(STOP, Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_stop_is_served_while_terminals_print_without_end() {
    // Without end: repeated marks, switches of the screen, and shifts of a line.
    let flood = "yes \"$(printf 'e\\314\\201\\33[65535b\\33[?1049h\\33[ @\\33[?1049l')\"";
    let mut fixture = Fixture::with_script(flood, b"", "");

    // One more than the threads that interpret output.
    let threads = thread::available_parallelism().unwrap().get();
    for _ in 0..=threads {
        let session = fixture.start(1000, 500);
        let attached = fixture.client.request("attach", json!({ "session": session }));
        assert_eq!(attached["type"], "attached", "{attached}");
    }
    fixture.assert_others_are_served();

    let (code, log) = fixture.server.stop_within(STOP, Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn switching_screens_takes_constant_time_per_row() {
    let mut fixture = Fixture::new("\x1b[?1049h\x1b[?1049l".repeat(100_000).as_bytes(), "");

    let session = fixture.start(1000, 500);
    let attached = fixture.attach_to_printed(&session);
    assert_eq!(attached["type"], "attached", "{attached}");
}

#[test]
fn a_long_hyperlink_in_many_cells_takes_memory_once() {
    // The longest URL that the screen accepts, and one that it ignores.
    for length in [2000, 60_000] {
        // One link, and a change of colour per cell: each cell has its own attributes.
        let mut output = format!("\x1b]8;;https://example.org/{}\x07", "x".repeat(length));
        for cell in 0..20_000 {
            let _ = write!(output, "\x1b[3{}mx", cell % 8);
        }

        let mut fixture = Fixture::new(output.as_bytes(), "");
        let (before, _) = fixture.server.memory_mib();
        let session = fixture.start(80, 24);
        fixture.wait_until_printed(&session);
        let screen = format!("/sessions/{session}/screen?format=html");
        assert!(fixture.server.admin_api().text(&screen).contains("<pre"));

        let (after, peak) = fixture.server.memory_mib();
        println!("{length}: {before} MiB before, {after} MiB after, {peak} MiB peak");
        assert!(peak < before + 64, "{before} MiB before, {peak} MiB at most");
    }
}

#[test]
fn alternating_links_take_little_memory_in_a_snapshot() {
    let link = |name: &str| format!("\x1b]8;;https://example.org/{name}{}\x07", "x".repeat(2000));
    let cells = "x\x1b[4095b".repeat(1000 * 500 / 4096);
    // Every second cell refers to the other link.
    let row = |y: usize| format!("\x1b[{y};1H{}", "y\x1b[C".repeat(500));
    let others = (1..=500).map(row).collect();
    let output = [link("a"), cells, link("b"), others].concat();
    let mut fixture = Fixture::new(output.as_bytes(), "");

    let (before, _) = fixture.server.memory_mib();
    let session = fixture.start(1000, 500);
    let attached = fixture.attach_to_printed(&session);
    assert_eq!(attached["type"], "attached", "{attached}");

    let (_, peak) = fixture.server.memory_mib();
    println!("{before} MiB before, {peak} MiB peak");
    assert!(peak < before + 96, "{before} MiB before, {peak} MiB at most");
}

#[test]
fn a_history_is_bounded_in_bytes() {
    let mut output = String::new();
    for cell in 0..400_000_u32 {
        let [_, r, g, b] = cell.wrapping_mul(40_503).to_be_bytes();
        let _ = write!(output, "\x1b[38;2;{r};{g};{b}mx");
    }
    let sessions = "[sessions]\nscrollback_lines = 1000000\nscrollback_bytes = \"1MiB\"\n";
    let mut fixture = Fixture::new(output.as_bytes(), sessions);

    let (before, _) = fixture.server.memory_mib();
    let session = fixture.start(200, 50);
    fixture.wait_until_printed(&session);
    let screen = format!("/sessions/{session}/screen?format=ansi");
    let ansi = fixture.server.admin_api().text(&screen);
    // About 80,000 cells of history, 13 bytes each in memory, and the screen.
    assert!((1_000_000..4_000_000).contains(&ansi.len()), "{} bytes", ansi.len());

    let (_, peak) = fixture.server.memory_mib();
    println!("{before} MiB before, {peak} MiB peak, {} bytes written", ansi.len());
    assert!(peak < before + 32, "{before} MiB before, {peak} MiB at most");
}

#[test]
fn narrowing_a_full_history_delays_no_other_user() {
    let output = format!("{}\r\n", "0123456789".repeat(99)).repeat(10_000);
    let mut fixture = Fixture::new(output.as_bytes(), "");

    let session = fixture.start(1000, 50);
    fixture.wait_until_printed(&session);
    let (before, _) = fixture.server.memory_mib();
    let resize = json!({ "cols": 2, "rows": 50 });
    let (status, body) =
        fixture.server.admin_api().post(&format!("/sessions/{session}/resize"), &resize);
    assert_eq!(status, 204, "{body}");

    fixture.assert_others_are_served();
    let attached =
        fixture.client.request("attach", json!({ "session": session, "role": "viewer" }));
    assert_eq!(attached["payload"]["cols"], 2, "{attached}");

    let (_, peak) = fixture.server.memory_mib();
    println!("{before} MiB before, {peak} MiB peak");
    assert!(peak < before + 32, "{before} MiB before, {peak} MiB at most");

    let (code, log) = fixture.server.stop_within(STOP, Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_snapshot_is_bounded_and_reports_omitted_history() {
    let mut fixture = Fixture::new(colourful_cells(400 * 1000).as_bytes(), "");

    let session = fixture.start(1000, 20);
    let attached = fixture.attach_to_printed(&session);

    // The output fills 400 lines, of which the screen shows 20.
    assert_eq!(attached["payload"]["history_omitted"], 380, "{attached}");

    let snapshot = fixture.client.read_binary();
    println!("{} bytes", snapshot.len());
    assert!(
        (MAX_SNAPSHOT_BYTES / 2..=MAX_SNAPSHOT_BYTES).contains(&snapshot.len()),
        "{} bytes",
        snapshot.len()
    );
}

#[test]
fn a_snapshot_of_a_large_screen_is_bounded() {
    let mut fixture = Fixture::new(colourful_cells(1000 * 100).as_bytes(), "");

    let session = fixture.start(1000, 100);
    let attached = fixture.attach_to_printed(&session);
    assert_eq!(attached["type"], "attached", "{attached}");

    let snapshot = fixture.client.read_binary();
    println!("{} bytes", snapshot.len());
    assert!((50_000..=MAX_SNAPSHOT_BYTES).contains(&snapshot.len()), "{} bytes", snapshot.len());
}

#[test]
fn blocked_viewers_share_one_snapshot() {
    let mut fixture = Fixture::new(colourful_cells(400 * 1000).as_bytes(), "");

    let session = fixture.start(1000, 20);
    fixture.wait_until_printed(&session);
    let (before, _) = fixture.server.memory_mib();
    let viewers: Vec<_> = (0..30)
        .map(|_| {
            let mut viewer = fixture.server.frame_client(fixture.server.admin_token(), "blocked");
            let attached =
                viewer.request("attach", json!({ "session": session, "role": "viewer" }));
            assert_eq!(attached["type"], "attached", "{attached}");
            viewer
        })
        .collect();

    fixture.assert_others_are_served();
    let (after, _) = fixture.server.memory_mib();
    println!("{before} MiB before, {after} MiB with {} viewers", viewers.len());
    assert!(after < before + 16, "{before} MiB before, {after} MiB with blocked viewers");
}

#[test]
fn viewers_that_never_read_an_old_snapshot_are_closed() {
    let script = "while :; do cat ~/output; done";
    let output = colourful_cells(100 * 1000);
    let mut fixture = Fixture::with_script(script, output.as_bytes(), PATIENT);

    let session = fixture.start(1000, 20);
    let admin = fixture.server.admin_api();

    let mut viewers: Vec<FrameClient> = Vec::new();
    wait_until(TIMEOUT, "the first viewer is closed", || {
        let mut viewer = fixture.server.frame_client(fixture.server.admin_token(), "blocked");
        let attached = viewer.request("attach", json!({ "session": session, "role": "viewer" }));
        assert_eq!(attached["type"], "attached", "{attached}");
        viewers.push(viewer);
        admin.connections().iter().all(|id| *id != viewers[0].id)
    });

    println!("{} viewers", viewers.len());
    fixture.assert_others_are_served();
}

#[test]
fn a_stalled_viewer_that_has_its_snapshot_stays() {
    let script = "while :; do cat ~/output; done";
    let output = colourful_cells(100 * 1000);
    let mut fixture = Fixture::with_script(script, output.as_bytes(), PATIENT);

    let session = fixture.start(1000, 20);
    let admin = fixture.server.admin_api();
    let attach = json!({ "session": session, "role": "viewer" });

    // It has read the whole snapshot, and reads nothing of what follows.
    let mut stalled = fixture.server.frame_client(fixture.server.admin_token(), "stalled");
    let attached = stalled.request("attach", attach.clone());
    assert_eq!(attached["type"], "attached", "{attached}");
    while stalled.read_binary()[0] != SNAPSHOT {}

    let mut viewers: Vec<FrameClient> = Vec::new();
    wait_until(TIMEOUT, "a viewer with its snapshot unread is closed", || {
        let mut viewer = fixture.server.frame_client(fixture.server.admin_token(), "blocked");
        assert_eq!(viewer.request("attach", attach.clone())["type"], "attached");
        viewers.push(viewer);
        admin.connections().iter().all(|id| *id != viewers[0].id)
    });

    assert!(admin.connections().contains(&stalled.id), "the stalled viewer is closed");
    let reply = stalled.request("ping", json!({}));
    assert_eq!(reply["type"], "pong", "{reply}");
}

#[test]
fn output_after_a_program_reopens_its_terminal_is_shown() {
    let script = "t=$(tty); exec </dev/null >/dev/null 2>&1; sleep 1; exec >$t; echo again; \
                  exec sleep 3600";
    let mut fixture = Fixture::with_script(script, b"", "");

    let session = fixture.start(80, 24);
    let admin = fixture.server.admin_api();

    let screen = format!("/sessions/{session}/screen");
    wait_until(TIMEOUT, "the later output is shown", || admin.text(&screen).contains("again"));
}

/// Returns output of cells that each have their own colours.
fn colourful_cells(cells: u32) -> String {
    let mut output = String::new();
    for cell in 0..cells {
        let [_, r, g, b] = cell.wrapping_mul(40_503).to_be_bytes();
        let _ = write!(output, "\x1b[38;2;{r};{g};{b};48;2;{b};{r};{g}mx");
    }
    output
}
