//! Databases and disks that fail: one clear message, terminals that go on, and nothing lost.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    thread,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    Database, TIMEOUT, attach, create, events, exported, session, wait_for_output, wait_for_status,
    write_config,
};
use crate::support::{SmallDisk, TestHome, TestServer, error_line, wait_until};

const FILES: [&str; 3] = ["rejoin.db", "rejoin.db-wal", "rejoin.db-shm"];

/// Returns the error of a server that does not start.
fn start_error(home: &TestHome) -> String {
    error_line(home.rejoin(&["serve", "--listen", "127.0.0.1:0"]))
}

#[test]
fn a_locked_database_is_reported_at_the_start() {
    let home = TestHome::new();
    home.start_server().stop(Signal::TERM);
    let mut database = Database::open(&home.data_path("rejoin.db"));
    database.execute("BEGIN EXCLUSIVE");

    let error = start_error(&home);
    assert!(error.contains("rejoin.db: ") && error.contains("database is locked"), "{error}");
    database.execute("COMMIT");
    home.start_server();
}

#[test]
fn a_read_only_database_is_reported_at_the_start() {
    let home = TestHome::new();
    let Some(disk) = SmallDisk::mount(&home, "db", "8m") else { return };
    home.write("rejoin.toml", "[store]\nurl = \"sqlite:db/rejoin.db\"\n");
    home.start_server().stop(Signal::TERM);

    disk.remount("ro");
    let error = start_error(&home);
    assert!(error.starts_with("cannot write the database /"), "{error}");
    assert!(error.contains("db/rejoin.db: Read-only file system"), "{error}");
    disk.remount("rw");
    home.start_server();
}

#[test]
fn damaged_databases_are_reported_and_left_alone() {
    let home = TestHome::new();
    write_config(&home, "exec cat", "");
    let server = home.start_server();
    let sessions: Vec<_> = (0..20).map(|_| create(&server)).collect();
    server.stop(Signal::TERM);
    let path = home.data_path("rejoin.db");
    let good = fs::read(&path).unwrap();

    let noise = |index: usize| ((index * index * 31) >> 3).to_le_bytes()[0];
    let random: Vec<_> = (0..good.len()).map(noise).collect();
    let mut overwritten = good.clone();
    overwritten[4096..8192].copy_from_slice(&random[..4096]);
    for damaged in [random, overwritten, good[..good.len() / 2].to_vec(), good[..100].to_vec()] {
        fs::write(&path, &damaged).unwrap();
        let error = start_error(&home);
        let reasons = ["not a database", "damaged", "malformed", "disk I/O error"];
        assert!(reasons.iter().any(|reason| error.contains(reason)), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damaged, "the file is evidence");
    }

    // As the message says: without the file the sessions are adopted.
    for file in FILES {
        let _ = fs::remove_file(home.data_path(file));
    }
    let server = home.start_server();
    for id in &sessions {
        assert_eq!(session(&server, id)["status"], "idle");
    }
}

#[test]
fn a_database_overwritten_in_use_disturbs_no_terminal() {
    let home = TestHome::new();
    write_config(&home, "exec cat", "");
    let server = home.start_server();
    let id = create(&server);
    let mut client = attach(&server, &id);
    wait_until(TIMEOUT, "the attach is recorded", || exported(&home, &id)["status"] == "active");

    for file in &FILES[..2] {
        let mut file = File::options().write(true).open(home.data_path(file)).unwrap();
        let length = file.seek(SeekFrom::End(0)).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
    }
    client.send("input", json!({ "session": id, "data": "alive" }));
    wait_for_output(&mut client, "alive");
    let second = attach(&server, &id);
    server.wait_for_log("ERROR");
    client.send("input", json!({ "session": id, "data": "still" }));
    wait_for_output(&mut client, "still");
    drop(second);

    // A new file in its place takes what waits.
    for file in FILES {
        let _ = fs::remove_file(home.data_path(file));
    }
    wait_until(TIMEOUT, "the row is written", || {
        home.output_of(&["sessions", "list"]).contains(&format!("{id}\tactive"))
    });
    server.stop(Signal::KILL);
    let server = home.start_server();
    assert_eq!(session(&server, &id)["status"], "idle");
}

#[test]
fn a_removed_database_is_replaced_and_loses_no_session() {
    let home = TestHome::new();
    write_config(&home, "exec cat", "");
    let server = home.start_server();
    let (used, idle) = (create(&server), create(&server));
    for file in FILES {
        let _ = fs::remove_file(home.data_path(file));
    }

    let client = attach(&server, &used);
    wait_until(TIMEOUT, "the row is written", || {
        home.data_path("rejoin.db").exists()
            && home.output_of(&["sessions", "list"]).contains(&format!("{used}\tactive"))
    });
    server.wait_for_log("the file was removed or replaced");
    drop(client);
    server.stop(Signal::KILL);
    let server = home.start_server();
    for id in [used, idle] {
        assert_eq!(session(&server, &id)["status"], "idle");
    }
}

#[test]
fn each_column_edited_to_nonsense_is_set_right() {
    const COLUMNS: [&str; 22] = [
        "owner",
        "profile",
        "name",
        "status",
        "active_connections",
        "destroy_at",
        "deadline_boot",
        "deadline_at",
        "last_activity_at",
        "created_at",
        "updated_at",
        "exit_code",
        "has_exit",
        "reason",
        "title",
        "cols",
        "rows",
        "first_cols",
        "first_rows",
        "epoch",
        "last_event",
        "removed_at",
    ];
    let home = TestHome::new();
    write_config(&home, "exec cat", "[limits]\nmax_sessions_per_user = 200");
    let server = home.start_server();
    let created: Vec<_> = (0..COLUMNS.len() * 2).map(|_| create(&server)).collect();
    server.stop(Signal::KILL);

    let mut database = Database::open(&home.data_path("rejoin.db"));
    for (id, (index, column)) in created.iter().zip(COLUMNS.iter().cycle().enumerate()) {
        let value = if index < COLUMNS.len() { "-1" } else { "x'00ff'" };
        database.execute(&format!("UPDATE sessions SET {column} = {value} WHERE id = '{id}'"));
    }
    let server = home.start_server();
    for id in &created {
        let info = session(&server, id);
        assert_eq!((&info["status"], &info["owner"]), (&json!("idle"), &json!("ann")), "{info}");
        wait_until(TIMEOUT, "the row is right", || exported(&home, id)["status"] == "idle");
    }
}

/// Publishes numbers until the disk takes no more. Returns the acknowledged ones with their
/// positions.
fn publish(server: &TestServer, numbers: std::ops::Range<u64>) -> Vec<(String, u64)> {
    let mut acknowledged = Vec::new();
    for number in numbers {
        let data = json!({ "topic": "jobs", "data": { "n": number, "fill": "x".repeat(2000) },
                           "key": number.to_string() });
        match server.admin_api().post("/publish", &data) {
            (200, ack) => acknowledged.push((ack["position"].as_str().unwrap().to_owned(), number)),
            (503, refused) => {
                assert_eq!(refused["code"], "overloaded", "{refused}");
            }
            other => panic!("{other:?}"),
        }
    }
    acknowledged
}

/// Returns the positions and the numbers of all retained messages.
fn retained(server: &TestServer) -> Vec<(String, u64)> {
    let (status, page) = server.admin_api().get("/topics/jobs/history?limit=1000");
    assert_eq!(status, 200, "{page}");
    let read = |message: &Value| {
        let position = message["position"].as_str().unwrap().to_owned();
        (position, message["data"]["n"].as_u64().unwrap())
    };
    page["messages"].as_array().unwrap().iter().map(read).collect()
}

#[test]
fn a_full_disk_loses_no_message_and_no_transition() {
    let home = TestHome::new();
    let Some(disk) = SmallDisk::mount(&home, "", "24m") else { return };
    let durable = "[topics.jobs]\ndurable = true\nretain = { frames = 1000, bytes = \"8MiB\" }";
    write_config(&home, "exec cat", durable);
    let server = home.start_server();
    let id = create(&server);
    let mut client = attach(&server, &id);
    wait_until(TIMEOUT, "the attach is recorded", || exported(&home, &id)["status"] == "active");
    let mut acknowledged = publish(&server, 0..20);
    assert_eq!(acknowledged.len(), 20);

    disk.fill();
    // Also concurrent ones: none of a refused group is delivered.
    let refused: Vec<_> = thread::scope(|scope| {
        let server = &server;
        let publish = |from| scope.spawn(move || publish(server, from..from + 20));
        let threads: Vec<_> = [100, 200, 300].map(publish).into();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(refused.len() < 10, "{}", refused.len());
    acknowledged.extend(refused);
    let second = attach(&server, &id);
    client.send("input", json!({ "session": id, "data": "alive" }));
    wait_for_output(&mut client, "alive");
    assert_eq!(retained(&server), acknowledged_in_order(&acknowledged));

    disk.empty();
    // The same keys: what was acknowledged is not published again.
    for from in [0, 100, 200, 300] {
        acknowledged.extend(publish(&server, from..from + 20));
    }
    let acknowledged: BTreeSet<_> = acknowledged.into_iter().collect();
    assert_eq!(acknowledged.len(), 80);
    wait_until(TIMEOUT, "both are recorded", || exported(&home, &id)["active_connections"] == 2);
    assert_eq!(events(&server, &id).last(), Some(&("attached".into(), "active".into(), 2)));
    drop(second);

    server.stop(Signal::KILL);
    let server = home.start_server();
    let kept = retained(&server);
    assert_eq!(kept.len(), 80, "lost or doubled");
    assert_eq!(kept.into_iter().collect::<BTreeSet<_>>(), acknowledged);
    wait_for_status(&server, &id, "idle");
}

/// Returns messages in the order of their positions.
fn acknowledged_in_order(messages: &[(String, u64)]) -> Vec<(String, u64)> {
    let mut messages = messages.to_vec();
    let offset = |position: &str| position.rsplit('.').next().unwrap().parse::<u64>().unwrap();
    messages.sort_by_key(|(position, _)| offset(position));
    messages
}
