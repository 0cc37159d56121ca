//! The size of a terminal: its owner, its announcements, and its place in the output.

use std::{fs, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{TestClient, TestHome, TestServer, wait_until};

/// Time limit for what a test waits for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Starts a server whose program executes a shell script without echo.
fn server(home: &TestHome, script: &str) -> TestServer {
    let script = format!("stty -echo; echo ready; {script}");
    home.write(
        "rejoin.toml",
        &format!("[profiles.terminal]\ncommand = [\"sh\", \"-c\", {script:?}]\n"),
    );
    home.start_server()
}

fn create_session(server: &TestServer) -> String {
    let session = server.create_terminal();
    wait_until(TIMEOUT, "the program runs", || screen(server, &session).contains("ready"));
    session
}

fn screen(server: &TestServer, session: &str) -> String {
    server.admin_api().text(&format!("/sessions/{session}/screen"))
}

/// Returns the columns and rows of a session.
fn size(server: &TestServer, session: &str) -> (u64, u64) {
    let (_, info) = server.admin_api().get(&format!("/sessions/{session}"));
    (info["cols"].as_u64().unwrap(), info["rows"].as_u64().unwrap())
}

/// Attaches a new connection with a size. Returns it and its id.
fn attach(server: &TestServer, session: &str, role: &str, cols: u16) -> (TestClient, Value) {
    let mut client = server.connect_as_admin();
    let attach = json!({ "session": session, "role": role, "cols": cols, "rows": 30 });
    let attached = client.request("attach", attach);
    assert_eq!(attached["type"], "attached", "{attached}");
    (client, attached)
}

fn resize(client: &mut TestClient, session: &str, cols: u16) -> Value {
    client.request("resize", json!({ "session": session, "cols": cols, "rows": 30 }))
}

/// Types a line.
fn enter(client: &mut TestClient, session: &str) {
    let typed = client.request("input", json!({ "session": session, "data": "\n" }));
    assert_eq!(typed["type"], "ack", "{typed}");
}

/// Waits for the next change of size and returns its columns.
fn next_cols(viewer: &mut TestClient) -> u64 {
    let is_size = |message: &Value| {
        // Not the message before a snapshot, which has the whole state.
        let payload = &message["payload"];
        message["type"] == "session" && payload["cols"].is_u64() && payload["status"].is_null()
    };
    viewer.wait_for(is_size)["payload"]["cols"].as_u64().unwrap()
}

/// Returns the keeper of the only terminal in a home.
fn keeper(home: &TestHome) -> Pid {
    let directory = home.data_path("terminals").display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let keeper = ids.find(|id| {
        let line = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.contains(&directory)
    });
    Pid::from_raw(keeper.expect("a keeper")).unwrap()
}

#[test]
fn a_viewer_never_resizes() {
    let home = TestHome::new();
    let server = server(&home, "while read line; do stty size; done");
    let session = create_session(&server);
    let (mut viewer, _) = attach(&server, &session, "viewer", 200);

    let refused = resize(&mut viewer, &session, 190);
    assert_eq!(refused["payload"]["code"], "read_only", "{refused}");
    assert_eq!(size(&server, &session), (80, 24));

    // A writer that returns gets its size, whatever the viewer could show.
    let (mut writer, _) = attach(&server, &session, "writer", 50);
    assert_eq!(next_cols(&mut viewer), 50);
    enter(&mut writer, &session);
    wait_until(TIMEOUT, "the program has the size", || screen(&server, &session).contains("30 50"));
}

#[test]
fn the_writer_that_typed_last_owns_the_size_everywhere() {
    let home = TestHome::new();
    let server = server(&home, "while read line; do stty size; done");
    let session = create_session(&server);
    let (mut laptop, _) = attach(&server, &session, "writer", 120);
    wait_until(TIMEOUT, "the first writer has the size", || size(&server, &session) == (120, 30));
    let (mut viewer, _) = attach(&server, &session, "viewer", 40);
    let (mut phone, attached) = attach(&server, &session, "writer", 45);

    // The size of a writer that has not typed waits until it types.
    assert_eq!(resize(&mut phone, &session, 46)["type"], "ack");
    assert_eq!(size(&server, &session), (120, 30));
    enter(&mut phone, &session);
    assert_eq!(next_cols(&mut viewer), 46);
    let (_, info) = server.admin_api().get(&format!("/sessions/{session}"));
    assert_ne!(info["size_owner"], attached["payload"]["size_owner"], "{info}");

    enter(&mut laptop, &session);
    assert_eq!(next_cols(&mut viewer), 120);
    enter(&mut laptop, &session);
    wait_until(TIMEOUT, "the program has the size", || {
        screen(&server, &session).contains("30 120")
    });
}

#[test]
fn a_burst_of_sizes_is_announced_as_few() {
    let home = TestHome::new();
    let server = server(&home, "while read line; do stty size; done");
    let session = create_session(&server);
    let (mut writer, _) = attach(&server, &session, "writer", 90);
    let (mut viewer, _) = attach(&server, &session, "viewer", 90);
    wait_until(TIMEOUT, "the size is applied", || size(&server, &session) == (90, 30));

    // A window is dragged while the machine is busy.
    let keeper = keeper(&home);
    kill_process(keeper, Signal::STOP).unwrap();
    for cols in 91..=250 {
        writer.send("resize", json!({ "session": session, "cols": cols, "rows": 30 }));
    }
    assert_eq!(writer.request("ping", json!({}))["type"], "pong");
    kill_process(keeper, Signal::CONT).unwrap();

    // The viewer may have attached before the first size was announced.
    let first = next_cols(&mut viewer);
    let mut announced = if first == 90 { Vec::new() } else { vec![first] };
    while announced.last() != Some(&250) {
        announced.push(next_cols(&mut viewer));
    }
    assert!(announced.len() <= 2, "{announced:?}");
    enter(&mut writer, &session);
    wait_until(TIMEOUT, "the program has the size", || {
        screen(&server, &session).contains("30 250")
    });
}

#[test]
fn each_size_stands_at_its_place_in_the_output() {
    let home = TestHome::new();
    // Each letter goes to column 30, or to the last one of a narrower terminal.
    let letters = ["A", "B", "C"].iter().zip(2..);
    let script: String = letters
        .map(|(letter, row)| format!("read line; printf '\\33[{row};30H{letter}'; "))
        .collect();
    let crashed = server(&home, &format!("{script} exec sleep 3600"));
    let session = create_session(&crashed);
    let (mut writer, _) = attach(&crashed, &session, "writer", 10);
    for (cols, letter) in [(10, "A"), (20, "B"), (40, "C")] {
        resize(&mut writer, &session, cols);
        wait_until(TIMEOUT, "the size", || size(&crashed, &session) == (cols.into(), 30));
        enter(&mut writer, &session);
        wait_until(TIMEOUT, "the letter", || screen(&crashed, &session).contains(letter));
    }

    let expected = screen(&crashed, &session);
    let places: Vec<_> = expected.lines().skip(1).take(3).map(str::len).collect();
    assert_eq!(places, [10, 20, 30], "{expected}");
    crashed.stop(Signal::KILL);

    let server = home.start_server();
    assert_eq!(size(&server, &session), (40, 30));
    assert_eq!(screen(&server, &session), expected);
}
