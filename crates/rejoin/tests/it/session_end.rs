//! The end of a session whose program ignores the hang-up.

use std::{thread, time::Duration};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{TestHome, wait_until};

/// Time limit for the end of a program, which is killed after 2 s.
const TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn a_second_delete_behind_unread_input_ends() {
    let home = TestHome::new();
    let script = "trap ': >hung-up' HUP; : >trapped; while :; do echo flood; done";
    let profile = format!("[profiles.terminal]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
    home.write("rejoin.toml", &profile);
    let server = home.start_server();

    let mut client = server.connect_as_admin();
    let created = client.create_session("terminal");
    let session = created["payload"]["session"]["id"].as_str().expect("a session").to_owned();
    let attached = client.request("attach", json!({ "session": session }));
    assert_eq!(attached["type"], "attached", "{attached}");

    // A hang-up before the trap is set ends the shell.
    wait_until(TIMEOUT, "the program sets its trap", || home.path("trapped").exists());

    let delete = || {
        let (api, path) = (server.admin_api(), format!("/sessions/{session}"));
        thread::spawn(move || api.delete(&path))
    };
    let first = delete();
    wait_until(TIMEOUT, "the program gets the hang-up", || home.path("hung-up").exists());

    // Fill the queue of the PTY, which the program does not read.
    for _ in 0..300 {
        client.send("input", json!({ "session": session, "data": "x" }));
    }
    assert_eq!(client.request("ping", json!({}))["type"], "pong");

    let second = delete();
    wait_until(TIMEOUT, "both requests end", || first.is_finished() && second.is_finished());
    assert_eq!(first.join().unwrap(), 204);

    let second = second.join().unwrap();
    assert!(second == 204 || second == 404, "{second}");

    let (code, log) = server.stop_within(TIMEOUT, Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("aborted at the deadline"), "{log}");
}
