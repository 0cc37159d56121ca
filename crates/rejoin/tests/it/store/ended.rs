//! The lifetime of records: how long ended sessions stay, how many, and where.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use super::{
    Database, TIMEOUT, attach, create, events, expected, exported, session, wait_for_status,
    write_config,
};
use crate::support::{TestHome, error_line, wait_until};

#[test]
fn an_ended_session_is_removed_after_its_retention() {
    let home = TestHome::new();
    write_config(&home, "exit 0", "[sessions]\nretention = \"1s\"");
    let server = home.start_server();
    let id = create(&server);
    wait_for_status(&server, &id, "terminated");
    server.stop(Signal::TERM);

    // The first look is at the start.
    let old = "UPDATE sessions SET updated_at = updated_at - 3600000";
    Database::open(&home.data_path("rejoin.db")).execute(old);
    let server = home.start_server();
    wait_until(TIMEOUT, "the session is removed", || {
        server.admin_api().get(&format!("/sessions/{id}")).0 == 404
    });
}

#[test]
fn a_time_out_is_the_reason_also_after_a_crash() {
    let home = TestHome::new();
    // Survives the hang-up for 2 s, so that the server is killed before the end.
    let script = "trap 'touch hung-up' HUP; while :; do sleep 0.1; done";
    write_config(&home, script, "idle_timeout = \"1s\"");
    let server = home.start_server();
    let id = create(&server);
    wait_until(TIMEOUT, "the program is hung up", || home.path("hung-up").exists());
    server.stop(Signal::KILL);
    let name = format!("rejoin: keeper {id}\0");
    wait_until(TIMEOUT, "the keeper ends", || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let mut lines =
            processes.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
        !lines.any(|line| line.starts_with(&name))
    });

    let server = home.start_server();
    wait_for_status(&server, &id, "terminated");
    assert_eq!(session(&server, &id)["reason"], "no connection was attached for 1s");
    assert_eq!(session(&server, &id)["exit"]["signal"], "SIGKILL");
}

#[test]
fn ended_sessions_do_not_count_and_are_bounded() {
    const KEPT: usize = 50;
    let home = TestHome::new();
    let limits = "[limits]\nmax_sessions_per_user = 2";
    write_config(&home, "[ -e stay ] && exec cat; exit 0", limits);
    let server = home.start_server();

    // Many more than the limit, one after the other.
    let mut created = Vec::new();
    for _ in 0..KEPT + 3 {
        let id = create(&server);
        wait_until(TIMEOUT, "the program ends", || !session(&server, &id)["exit"].is_null());
        created.push(id);
    }

    let listed = || {
        let (_, page) = server.admin_api().get("/sessions?limit=1000");
        let sessions = page["sessions"].as_array().unwrap();
        sessions.iter().map(|info| info["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut newest = created.split_off(3);
    newest.sort();
    wait_until(TIMEOUT, "the oldest are removed", || {
        let mut ids = listed();
        ids.sort();
        ids == newest
    });
    let last = ("removed".to_owned(), "terminated".to_owned(), 0);
    wait_until(TIMEOUT, "the removal is recorded", || {
        events(&server, &created[0]).last() == Some(&last)
    });

    // Running ones count, and displace none that has ended.
    home.write("stay", "");
    let (first, _) = (create(&server), create(&server));
    let (status, refused) = server.admin_api().post("/sessions", &json!({}));
    assert_eq!((status, &refused["code"]), (429, &json!("too_many_sessions")));
    assert_eq!(listed().len(), KEPT + 2);
    assert_eq!(server.admin_api().delete(&format!("/sessions/{first}")), 204);
    create(&server);
}

#[test]
fn each_short_program_shows_its_exit() {
    let home = TestHome::new();
    write_config(&home, "exit 0", "");
    let server = home.start_server();

    // The keeper may end before, while or after the server connects to it.
    for _ in 0..150 {
        let id = create(&server);
        wait_for_status(&server, &id, "terminated");
    }
}

#[test]
fn a_store_in_memory_ends_with_the_server() {
    let home = TestHome::new();
    write_config(&home, "exec cat", "[store]\nurl = \"memory:\"");
    let server = home.start_server();
    let id = create(&server);
    drop(attach(&server, &id));
    wait_for_status(&server, &id, "idle");
    assert_eq!(events(&server, &id).len(), 4);
    assert!(!home.data_path("rejoin.db").exists());
    let error = error_line(home.rejoin(&["sessions", "list"]));
    assert!(error.contains("memory:"), "{error}");

    // The next server finds the terminal and has no history of it.
    server.stop(Signal::KILL);
    let server = home.start_server();
    assert_eq!(session(&server, &id)["status"], "idle");
    assert_eq!(events(&server, &id), expected(&[("recovered", "idle", 0)]));

    // A database begins in the same way.
    server.stop(Signal::TERM);
    write_config(&home, "exec cat", "");
    let server = home.start_server();
    assert_eq!(events(&server, &id), expected(&[("recovered", "idle", 0)]));
    assert_eq!(exported(&home, &id)["status"], "idle");
}
