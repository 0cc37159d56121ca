//! The end of a session whose program does not want to go.

use std::{thread, time::Duration};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Home, until};

/// Limit for the end of a program, which is killed after 2 s.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_second_delete_behind_input_that_nobody_takes_ends_as_well() {
    let home = Home::new();
    let script = "trap ': >hung-up' HUP; : >trapped; while :; do echo flood; done";
    let profile = format!("[profiles.terminal]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
    home.write("rejoin.toml", &profile);
    let server = home.serve();
    let mut client = server.log_in();
    let created = client.create("terminal");
    let session = created["payload"]["session"]["id"].as_str().expect("a session").to_owned();
    let attached = client.ask("attach", json!({ "session": session }));
    assert_eq!(attached["type"], "attached", "{attached}");

    // A hang-up before the trap is set would end the shell.
    until(PATIENCE, "the trap", || home.path("trapped").exists());

    let delete = || {
        let (api, path) = (server.admin(), format!("/sessions/{session}"));
        thread::spawn(move || api.delete(&path))
    };
    let first = delete();
    until(PATIENCE, "the hang-up", || home.path("hung-up").exists());
    for _ in 0..300 {
        client.send("input", json!({ "session": session, "data": "x" }));
    }
    assert_eq!(client.ask("ping", json!({}))["type"], "pong");
    let second = delete();
    until(PATIENCE, "both answers", || first.is_finished() && second.is_finished());
    assert_eq!(first.join().unwrap(), 204);
    let second = second.join().unwrap();
    assert!(second == 204 || second == 404, "{second}");

    let (code, log) = server.stop_within(PATIENCE, Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("cut off at the deadline"), "{log}");
}
