//! Programs that print what costs the most.

use std::{fmt::Write as _, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Home, Server, hostile::Hostile};

/// Limit for a stop: the sum of its deadlines.
const STOP: Duration = Duration::from_secs(20);
/// Bytes of a snapshot, with the head of its message.
const SNAPSHOT: usize = 1024 * 1024 + 32;

/// A server with a terminal profile that prints bytes and then waits.
struct Fixture {
    home: Home,
    server: Server,
    client: Hostile,
}

impl Fixture {
    /// Starts a server with these lines in its configuration.
    fn new(output: &[u8], configuration: &str) -> Self {
        let home = Home::new();
        std::fs::write(home.path("output"), output).unwrap();
        let script = "stty raw -echo; cat ~/output; printf '\\33]2;printed\\7'; exec sleep 3600";
        let profile = format!("[profiles.attack]\ncommand = [\"sh\", \"-c\", {script:?}]\n");
        home.write("rejoin.toml", &format!("{configuration}{profile}"));
        let server = home.serve();
        let client = server.hostile(server.login_token(), "attacker");
        Self { home, server, client }
    }

    /// Starts the program in a terminal of this size.
    fn start(&mut self, cols: u16, rows: u16) -> String {
        let create = json!({ "kind": "terminal", "profile": "attack", "cols": cols, "rows": rows });
        let created = self.client.ask("create_session", create);
        created["payload"]["session"]["id"].as_str().expect("a session").to_owned()
    }

    /// Attaches, and waits until the screen has all that was printed; returns the answer.
    fn attach_to_printed(&mut self, session: &str) -> Value {
        self.until_printed(session);
        self.client.ask("attach", json!({ "session": session, "role": "viewer" }))
    }

    fn until_printed(&self, session: &str) {
        let admin = self.server.admin();
        let path = format!("/sessions/{session}");
        crate::support::until(Duration::from_secs(60), "all is printed", || {
            admin.get(&path).1["title"] == "printed"
        });
    }

    /// A message of another user is answered.
    fn assert_others_are_served(&self) {
        let token = self.home.token("bob", "1h");
        let answer = self.server.hostile(&token, "laptop").ask("ping", json!({}));
        assert_eq!(answer["type"], "pong", "{answer}");
    }
}

#[test]
fn repeated_combining_characters_delay_neither_others_nor_a_stop() {
    let marks: String = (0..64).map(|_| '\u{301}').collect();
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
    let mut fixture = Fixture::new(b"", "");
    let flood = "yes \"$(printf 'e\\314\\201\\33[65535b\\33[?1049h\\33[ @\\33[?1049l')\"";
    let profile = format!("[profiles.attack]\ncommand = [\"sh\", \"-c\", {flood:?}]\n");
    fixture.home.write("rejoin.toml", &profile);
    fixture.server = fixture.home.serve();
    fixture.client = fixture.server.hostile(fixture.server.login_token(), "attacker");
    for _ in 0..6 {
        let session = fixture.start(1000, 500);
        let attached = fixture.client.ask("attach", json!({ "session": session }));
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
    // The longest that is a link, and one that is too long to be one.
    for length in [2000, 60_000] {
        let mut output = format!("\x1b]8;;https://example.org/{}\x07", "x".repeat(length));
        for cell in 0..20_000 {
            let _ = write!(output, "\x1b[3{}mx", cell % 8);
        }
        let mut fixture = Fixture::new(output.as_bytes(), "");
        let (before, _) = fixture.server.memory();
        let session = fixture.start(80, 24);
        fixture.until_printed(&session);
        let screen = format!("/sessions/{session}/screen?format=html");
        assert!(fixture.server.admin().text(&screen).contains("<pre"));
        let (after, peak) = fixture.server.memory();
        println!("{length}: {before} MiB before, {after} MiB after, {peak} MiB peak");
        assert!(peak < before + 64, "{before} MiB before, {peak} MiB at most");
    }
}

#[test]
fn links_that_change_in_each_cell_take_little_memory_in_a_snapshot() {
    let link = |name: &str| format!("\x1b]8;;https://example.org/{name}{}\x07", "x".repeat(2000));
    let cells = "x\x1b[4095b".repeat(1000 * 500 / 4096);
    // Each second cell refers to the other link.
    let row = |y: usize| format!("\x1b[{y};1H{}", "y\x1b[C".repeat(500));
    let others = (1..=500).map(row).collect();
    let output = [link("a"), cells, link("b"), others].concat();
    let mut fixture = Fixture::new(output.as_bytes(), "");
    let (before, _) = fixture.server.memory();
    let session = fixture.start(1000, 500);
    let attached = fixture.attach_to_printed(&session);
    assert_eq!(attached["type"], "attached", "{attached}");
    let (_, peak) = fixture.server.memory();
    println!("{before} MiB before, {peak} MiB peak");
    assert!(peak < before + 96, "{before} MiB before, {peak} MiB at most");
}

#[test]
fn a_history_keeps_to_its_bytes_and_is_written_in_pieces() {
    let mut output = String::new();
    for cell in 0..400_000_u32 {
        let [_, r, g, b] = cell.wrapping_mul(40_503).to_be_bytes();
        let _ = write!(output, "\x1b[38;2;{r};{g};{b}mx");
    }
    let sessions = "[sessions]\nscrollback_lines = 1000000\nscrollback_bytes = \"1MiB\"\n";
    let mut fixture = Fixture::new(output.as_bytes(), sessions);
    let (before, _) = fixture.server.memory();
    let session = fixture.start(200, 50);
    fixture.until_printed(&session);
    let screen = format!("/sessions/{session}/screen?format=ansi");
    let ansi = fixture.server.admin().text(&screen);
    // About 80,000 cells of 13 bytes, and a screen.
    assert!((1_000_000..4_000_000).contains(&ansi.len()), "{} bytes", ansi.len());
    let (_, peak) = fixture.server.memory();
    println!("{before} MiB before, {peak} MiB peak, {} bytes written", ansi.len());
    assert!(peak < before + 32, "{before} MiB before, {peak} MiB at most");
}

#[test]
fn narrowing_a_full_history_delays_no_other_user() {
    let output = format!("{}\r\n", "0123456789".repeat(99)).repeat(10_000);
    let mut fixture = Fixture::new(output.as_bytes(), "");
    let session = fixture.start(1000, 50);
    fixture.until_printed(&session);
    let (before, _) = fixture.server.memory();
    let resize = json!({ "cols": 2, "rows": 50 });
    let (status, answer) =
        fixture.server.admin().post(&format!("/sessions/{session}/resize"), &resize);
    assert_eq!(status, 204, "{answer}");
    fixture.assert_others_are_served();
    let attached = fixture.client.ask("attach", json!({ "session": session, "role": "viewer" }));
    assert_eq!(attached["payload"]["cols"], 2, "{attached}");
    let (_, peak) = fixture.server.memory();
    println!("{before} MiB before, {peak} MiB peak");
    assert!(peak < before + 32, "{before} MiB before, {peak} MiB at most");
    let (code, log) = fixture.server.stop_within(STOP, Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_snapshot_is_bounded_and_says_what_it_omits() {
    let mut fixture = Fixture::new(true_colour(400 * 1000).as_bytes(), "");
    let session = fixture.start(1000, 20);
    let attached = fixture.attach_to_printed(&session);
    let omitted = attached["payload"]["history_omitted"].as_u64();
    assert!(omitted.is_some_and(|omitted| (1..400).contains(&omitted)), "{attached}");
    let snapshot = fixture.client.binary();
    println!("{} bytes", snapshot.len());
    assert!((SNAPSHOT / 2..=SNAPSHOT).contains(&snapshot.len()), "{} bytes", snapshot.len());
}

#[test]
fn a_snapshot_of_a_screen_that_does_not_fit_is_bounded() {
    let mut fixture = Fixture::new(true_colour(1000 * 100).as_bytes(), "");
    let session = fixture.start(1000, 100);
    let attached = fixture.attach_to_printed(&session);
    assert_eq!(attached["type"], "attached", "{attached}");
    let snapshot = fixture.client.binary();
    println!("{} bytes", snapshot.len());
    assert!((50_000..=SNAPSHOT).contains(&snapshot.len()), "{} bytes", snapshot.len());
}

#[test]
fn viewers_that_do_not_read_hold_one_snapshot_together() {
    let mut fixture = Fixture::new(true_colour(400 * 1000).as_bytes(), "");
    let session = fixture.start(1000, 20);
    fixture.until_printed(&session);
    let (before, _) = fixture.server.memory();
    let viewers: Vec<_> = (0..30)
        .map(|_| {
            let mut viewer = fixture.server.hostile(fixture.server.login_token(), "stuck");
            let attached = viewer.ask("attach", json!({ "session": session, "role": "viewer" }));
            assert_eq!(attached["type"], "attached", "{attached}");
            viewer
        })
        .collect();
    fixture.assert_others_are_served();
    let (after, _) = fixture.server.memory();
    println!("{before} MiB before, {after} MiB with {} viewers", viewers.len());
    assert!(after < before + 16, "{before} MiB before, {after} MiB with stuck viewers");
}

#[test]
fn viewers_that_never_take_an_old_snapshot_are_closed() {
    let mut fixture = Fixture::new(true_colour(100 * 1000).as_bytes(), "");
    let script = "stty raw -echo; while :; do cat ~/output; done";
    let profile = format!("[profiles.attack]\ncommand = [\"sh\", \"-c\", {script:?}]\n");
    fixture.home.write("rejoin.toml", &profile);
    fixture.server = fixture.home.serve();
    fixture.client = fixture.server.hostile(fixture.server.login_token(), "attacker");
    let session = fixture.start(1000, 20);
    let admin = fixture.server.admin();
    let mut viewers: Vec<Hostile> = Vec::new();
    crate::support::until(Duration::from_secs(60), "the first viewer is closed", || {
        let mut viewer = fixture.server.hostile(fixture.server.login_token(), "stuck");
        let attached = viewer.ask("attach", json!({ "session": session, "role": "viewer" }));
        assert_eq!(attached["type"], "attached", "{attached}");
        viewers.push(viewer);
        admin.connections().iter().all(|id| *id != viewers[0].id)
    });
    println!("{} viewers", viewers.len());
    fixture.assert_others_are_served();
}

#[test]
fn a_program_that_reopens_its_terminal_is_shown_again() {
    let mut fixture = Fixture::new(b"", "");
    let script = "t=$(tty); exec </dev/null >/dev/null 2>&1; sleep 1; exec >$t; echo again; \
                  exec sleep 3600";
    let profile = format!("[profiles.attack]\ncommand = [\"sh\", \"-c\", {script:?}]\n");
    fixture.home.write("rejoin.toml", &profile);
    fixture.server = fixture.home.serve();
    fixture.client = fixture.server.hostile(fixture.server.login_token(), "laptop");
    let session = fixture.start(80, 24);
    let admin = fixture.server.admin();
    let screen = format!("/sessions/{session}/screen");
    crate::support::until(Duration::from_secs(20), "what it prints afterwards is shown", || {
        admin.text(&screen).contains("again")
    });
}

/// Cells with a colour of their own each.
fn true_colour(cells: u32) -> String {
    let mut output = String::new();
    for cell in 0..cells {
        let [_, r, g, b] = cell.wrapping_mul(40_503).to_be_bytes();
        let _ = write!(output, "\x1b[38;2;{r};{g};{b};48;2;{b};{r};{g}mx");
    }
    output
}
