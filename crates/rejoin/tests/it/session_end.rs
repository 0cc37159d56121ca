//! The end of sessions and of their keepers.

use std::{fs, thread, time::Duration};

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

#[test]
fn the_keepers_of_ended_programs_are_reaped() {
    let home = TestHome::new();
    home.write_terminal_profile("exit 3");
    let server = home.start_server();
    // Some keepers report the exit over their connection, others leave it in the log.
    let sessions: Vec<_> = (0..10).map(|_| server.create_terminal()).collect();
    for session in &sessions {
        wait_until(TIMEOUT, "the exit is shown", || server.session(session)["exit"]["code"] == 3);
    }

    // The sessions stay until they are closed. Their keepers must not stay as zombies.
    let tasks = format!("/proc/{}/task", server.pid());
    wait_until(TIMEOUT, "the server has no child", || {
        let tasks = fs::read_dir(&tasks).unwrap().flatten();
        let mut children = tasks.map(|task| fs::read_to_string(task.path().join("children")));
        children.all(|children| children.is_ok_and(|children| children.is_empty()))
    });
}
