//! Clocks that jump: no session ends early.

use rustix::process::Signal;
use serde_json::json;

use super::{Database, TIMEOUT, attach, create, exported, session, wait_for_status, write_config};
use crate::support::{TestHome, wait_until};

#[test]
fn a_clock_that_jumps_ahead_ends_no_session() {
    let home = TestHome::new();
    write_config(&home, "exec cat", "idle_timeout = \"10m\"");
    let server = home.start_server();
    let id = create(&server);
    let before = exported(&home, &id)["deadline"]["at"].as_u64().unwrap();
    server.stop(Signal::KILL);

    // The row as a server with a wall clock in the past leaves it: its times have passed long ago.
    let past = "UPDATE sessions SET destroy_at = 1, created_at = 1, updated_at = 1, \
                last_activity_at = 1";
    Database::open(&home.data_path("rejoin.db")).execute(past);
    let server = home.start_server();
    wait_until(TIMEOUT, "the recovery is recorded", || exported(&home, &id)["last_event"] == 3);
    let row = exported(&home, &id);
    assert_eq!(
        (&session(&server, &id)["status"], &row["status"]),
        (&json!("idle"), &json!("idle"))
    );
    // The deadline counts on the clock of the machine, which did not jump.
    let after = row["deadline"]["at"].as_u64().unwrap();
    assert!(after.abs_diff(before) < 100, "{before} {after}");
    assert!(row["destroy_at"].as_u64().unwrap() > 1_000_000_000_000, "{row}");
}

#[test]
fn a_clock_set_back_keeps_no_session_longer() {
    let home = TestHome::new();
    write_config(&home, "exec cat", "idle_timeout = \"1s\"");
    let server = home.start_server();
    let id = create(&server);
    server.stop(Signal::KILL);

    let future = "UPDATE sessions SET destroy_at = 9000000000000, created_at = 9000000000000, \
                  updated_at = 9000000000000, last_activity_at = 9000000000000";
    Database::open(&home.data_path("rejoin.db")).execute(future);
    let server = home.start_server();
    wait_for_status(&server, &id, "terminated");
    assert_eq!(session(&server, &id)["reason"], "no connection was attached for 1s");
}

#[test]
fn a_deadline_of_another_boot_begins_anew() {
    let home = TestHome::new();
    write_config(&home, "exec cat", "idle_timeout = \"10m\"");
    let server = home.start_server();
    let id = create(&server);
    server.stop(Signal::KILL);

    // The clock of each boot begins at zero: this time would be over.
    let other = "UPDATE sessions SET deadline_boot = 'another', deadline_at = 1";
    Database::open(&home.data_path("rejoin.db")).execute(other);
    let server = home.start_server();
    wait_until(TIMEOUT, "the recovery is recorded", || exported(&home, &id)["last_event"] == 3);
    assert_eq!(session(&server, &id)["status"], "idle");
    let deadline = exported(&home, &id)["deadline"].clone();
    assert!(deadline["boot"] != "another" && deadline["at"].as_u64().unwrap() > 1, "{deadline}");
    attach(&server, &id).close();
}
