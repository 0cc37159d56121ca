//! Terminals that outlive the server: crashes, restarts, and the end of keepers.

use std::{fs, iter, path::Path, thread, time::Duration};

use rejoin_protocol::binary::{BinaryHeader, BinaryKind};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{TestClient, TestHome, TestServer, wait_until};

/// Time limit for what a test waits for.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Keys that the program reads.
const KEYS: usize = 400;
/// Lines that the program prints: more than one checkpoint.
const LINES: u32 = 700_000;

/// Returns the keeper of the only terminal in a home.
fn keeper(home: &TestHome) -> Pid {
    let directory = home.data_path("terminals").display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut keepers = ids.filter(|id| {
        let line = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.contains(&directory)
    });
    Pid::from_raw(keepers.next().expect("a keeper")).unwrap()
}

fn wait_for_end(process: Pid) {
    let status = format!("/proc/{}/stat", process.as_raw_nonzero());
    wait_until(TIMEOUT, "the process ends", || {
        // A zombie has ended. Its parent may reap it late.
        fs::read_to_string(&status).map_or(true, |stat| stat.contains(") Z "))
    });
}

fn pid_in(path: &Path) -> Pid {
    let read = || fs::read_to_string(path).unwrap_or_default();
    wait_until(TIMEOUT, "the program writes its id", || read().ends_with('\n'));
    Pid::from_raw(read().trim_end().parse().unwrap()).unwrap()
}

/// A viewer that compares each byte with the program's output.
struct Viewer<'a> {
    expected: &'a [u8],
    /// The epoch, once the viewer was attached.
    epoch: Option<String>,
    next: usize,
    exit: Option<Value>,
}

impl Viewer<'_> {
    /// Reads until the connection or the program ends.
    fn follow(&mut self, client: &mut TestClient, session: &str) {
        let position = self.epoch.as_ref().map(|epoch| format!("{epoch}.{}", self.next));
        let role = "viewer";
        let payload = json!({ "session": session, "position": position, "role": role });
        client.send("attach", payload);

        while self.exit.is_none() || self.next < self.expected.len() {
            let Some(message) = client.try_read() else { return };
            match message {
                Message::Binary(bytes) => self.take(&bytes),
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    assert_ne!(message["type"], "error", "{message}");
                    self.take_message(&message);
                }
                _ => {}
            }
        }
    }

    fn take_message(&mut self, message: &Value) {
        let payload = &message["payload"];
        if message["type"] == "attached" {
            let (epoch, offset) = payload["position"].as_str().unwrap().split_once('.').unwrap();
            assert!(self.epoch.as_deref().is_none_or(|known| known == epoch), "{message}");
            self.epoch = Some(epoch.to_owned());
            if payload["verdict"] == "resumed" {
                assert_eq!(offset, self.next.to_string(), "{message}");
            }
        }
        if !payload["exit"].is_null() {
            self.exit = Some(payload["exit"].clone());
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let (head, bytes) = BinaryHeader::read(bytes).unwrap();
        let offset = usize::try_from(head.offset).unwrap();
        match head.kind {
            BinaryKind::Output => {
                assert_eq!(offset, self.next, "output without holes");
                let end = offset + bytes.len();
                assert!(self.expected[offset..end] == *bytes, "other bytes at {offset}");
                self.next = end;
            }
            BinaryKind::Snapshot => {
                assert!(offset >= self.next, "a snapshot of the past");
                self.next = offset;
            }
            _ => {}
        }
    }
}

/// Types keys after the last one that the session has; returns the number of the last key.
fn type_keys(client: &mut TestClient, session: &str, count: usize) -> usize {
    let attach = json!({ "session": session, "writer": "tab" });
    let attached = client.request("attach", attach);
    // Keys that were typed twice end the program early.
    assert!(attached["payload"]["exit"].is_null(), "{attached}");
    let typed = usize::try_from(attached["payload"]["input_seq"].as_u64().unwrap()).unwrap();
    let last = (typed + count).min(KEYS);
    for seq in typed + 1..=last {
        let key = char::from(key(seq)).to_string();
        client.send("input", json!({ "session": session, "data": key, "seq": seq }));
    }
    last
}

fn key(seq: usize) -> u8 {
    b'a' + u8::try_from(seq % 26).unwrap()
}

#[test]
fn killed_servers_lose_and_repeat_no_byte_and_no_key() {
    let home = TestHome::new();
    let script =
        format!("stty raw -echo; echo ready; seq 1 {LINES} & head -c {KEYS} >keys; wait; exit 7");
    home.write_terminal_profile(&script);
    let lines = (1..=LINES).map(|number| format!("{number}\n"));
    let expected: String = iter::once("ready\n".to_owned()).chain(lines).collect();
    let new = || Viewer { expected: expected.as_bytes(), epoch: None, next: 0, exit: None };
    let mut viewers: Vec<_> = (0..5).map(|_| new()).collect();

    let mut server = home.start_server();
    let id = server.create_terminal();
    // Different places in the output and in the keys.
    for count in [1, 40, 3, 90, 17, KEYS] {
        thread::scope(|scope| {
            for viewer in &mut viewers {
                let (mut client, id) = (server.connect_as_admin(), &id);
                scope.spawn(move || viewer.follow(&mut client, id));
            }
            let mut writer = server.connect_as_admin();
            if type_keys(&mut writer, &id, count) < KEYS {
                server.signal(Signal::KILL);
            } else {
                writer.wait_for(|message| {
                    assert_ne!(message["type"], "error", "{message}");
                    !message["payload"]["exit"].is_null()
                });
            }
        });
        if viewers.iter().all(|viewer| viewer.exit.is_none()) {
            drop(server);
            server = home.start_server();
        }
    }

    for viewer in viewers {
        assert_eq!(viewer.next, expected.len());
        assert_eq!(viewer.exit.unwrap()["code"], 7);
    }
    let typed: Vec<_> = (1..=KEYS).map(key).collect();
    assert_eq!(fs::read(home.path("keys")).unwrap(), typed);
}

#[test]
fn a_terminal_continues_after_a_restart() {
    let home = TestHome::new();
    home.write_terminal_profile("stty raw -echo; echo ready; exec cat");
    let server = home.start_server();
    let id = server.create_terminal();
    let mut client = server.connect_as_admin();
    let attached = client.request("attach", json!({ "session": id, "cols": 90, "rows": 30 }));
    let position = attached["payload"]["position"].as_str().unwrap();
    let (epoch, _) = position.split_once('.').unwrap();
    while !String::from_utf8_lossy(&client.read().into_data()).contains("ready") {}
    wait_until(TIMEOUT, "the size is applied", || server.session(&id)["cols"] == 90);
    let (code, log) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");

    let server = home.start_server();
    let info = server.session(&id);
    assert_eq!(
        (&info["cols"], &info["rows"], &info["owner"]),
        (&90.into(), &30.into(), &"ann".into())
    );
    let mut client = server.connect_as_admin();
    let attach = json!({ "session": id, "position": format!("{epoch}.6") });
    let attached = client.request("attach", attach);
    assert_eq!(attached["payload"]["verdict"], "resumed", "{attached}");

    client.send("input", json!({ "session": id, "data": "again" }));
    let mut output = Vec::new();
    while !output.ends_with(b"again") {
        if let Message::Binary(bytes) = client.read() {
            output.extend_from_slice(BinaryHeader::read(&bytes).unwrap().1);
        }
    }
    assert_eq!(server.admin_api().delete(&format!("/sessions/{id}")), 204);
    let is_empty = || fs::read_dir(home.data_path("terminals")).unwrap().next().is_none();
    wait_until(TIMEOUT, "the directory is removed", is_empty);
}

#[test]
fn a_killed_keeper_ends_its_session_and_program() {
    let home = TestHome::new();
    home.write_terminal_profile("trap '' HUP; echo $$ >pid; while :; do sleep 1; done");
    let server = home.start_server();
    let id = server.create_terminal();
    let program = pid_in(&home.path("pid"));

    kill_process(keeper(&home), Signal::KILL).unwrap();
    wait_for_end(program);
    wait_until(TIMEOUT, "the session ends", || server.session(&id)["status"] == "error");
    let reason = server.session(&id)["reason"].to_string();
    assert!(reason.contains("keeper"), "{reason}");
    // The session of a keeper that was killed is also recovered as ended.
    server.stop(Signal::KILL);
    let server = home.start_server();
    assert_eq!(server.session(&id)["status"], "error");
}

#[test]
fn a_program_that_ended_without_a_server_is_reported() {
    let home = TestHome::new();
    home.write_terminal_profile("echo $$ >pid; while [ ! -e go ]; do sleep 0.01; done; exit 3");
    let server = home.start_server();
    let id = server.create_terminal();
    pid_in(&home.path("pid"));
    let keeper = keeper(&home);

    server.stop(Signal::KILL);
    home.write("go", "");
    wait_for_end(keeper);
    let server = home.start_server();
    wait_until(TIMEOUT, "the exit is known", || server.session(&id)["exit"]["code"] == 3);
}

#[test]
fn a_stopped_keeper_delays_no_start_and_comes_back() {
    let home = TestHome::new();
    home.write_terminal_profile("exec cat");
    let server = home.start_server();
    let id = server.create_terminal();
    let keeper = keeper(&home);
    kill_process(keeper, Signal::STOP).unwrap();
    server.stop(Signal::KILL);

    let server = home.start_server();
    assert_eq!(server.admin_api().get(&format!("/sessions/{id}")).0, 404);
    kill_process(keeper, Signal::CONT).unwrap();
    wait_until(TIMEOUT, "the session is back", || server.session(&id)["status"] == "idle");

    // It delays no stop either.
    kill_process(keeper, Signal::STOP).unwrap();
    let (code, log) = server.stop_within(TIMEOUT, Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    kill_process(keeper, Signal::CONT).unwrap();
}

#[test]
fn kill_ends_all_programs_without_a_server() {
    let home = TestHome::new();
    home.write_terminal_profile("trap '' HUP; echo $$ >pid; while :; do sleep 1; done");
    let server = home.start_server();
    server.create_terminal();
    let program = pid_in(&home.path("pid"));
    server.stop(Signal::TERM);
    assert!(fs::exists(format!("/proc/{}", program.as_raw_nonzero())).unwrap());

    home.output_of(&["kill", "--all"]);
    wait_for_end(program);
}

#[test]
fn a_relative_data_directory_keeps_terminals() {
    let home = TestHome::new();
    home.write_terminal_profile("echo $$ >pid; exec cat");
    let serve = || {
        // The default one, relative to the home in which the server runs.
        let data = ".local/share/rejoin";
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data];
        TestServer::start(&home, home.rejoin(&arguments))
    };
    let server = serve();
    let id = server.create_terminal();
    pid_in(&home.path("pid"));
    server.stop(Signal::KILL);

    let server = serve();
    assert_eq!(server.session(&id)["status"], "idle");
    assert_eq!(server.admin_api().delete(&format!("/sessions/{id}")), 204);
}
