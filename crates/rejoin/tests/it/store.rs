//! Sessions in the store: transitions, idle time-outs, restarts, and stores that fail.

mod clock;
mod ended;
mod failing;
mod postgres;
mod revivals;

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::Path,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{TestClient, TestHome, TestServer, error_line, wait_until};

/// Time limit for what a test waits for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection of another program to the database of a server.
struct Database {
    connection: SqliteConnection,
    runtime: tokio::runtime::Runtime,
}

impl Database {
    fn open(path: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let options = options.busy_timeout(TIMEOUT);
        let connection = runtime.block_on(SqliteConnection::connect_with(&options)).unwrap();
        Self { connection, runtime }
    }

    fn execute(&mut self, statement: &str) {
        let statement = AssertSqlSafe(statement.to_owned());
        self.runtime.block_on(self.connection.execute(statement)).unwrap();
    }
}

/// Writes a configuration with one profile, a shell script.
fn write_config(home: &TestHome, script: &str, settings: &str) {
    let profile = format!("[profiles.terminal]\ncommand = [\"sh\", \"-c\", '''{script}''']\n");
    home.write("rejoin.toml", &format!("{profile}{settings}\n"));
}

fn create(server: &TestServer) -> String {
    let (status, session) = server.admin_api().post("/sessions", &json!({}));
    assert_eq!(status, 201, "{session}");
    session["id"].as_str().unwrap().to_owned()
}

fn session(server: &TestServer, id: &str) -> Value {
    server.admin_api().get(&format!("/sessions/{id}")).1
}

fn wait_for_status(server: &TestServer, id: &str, status: &str) {
    wait_until(TIMEOUT, status, || session(server, id)["status"] == status);
}

fn attach(server: &TestServer, id: &str) -> TestClient {
    let mut client = server.connect_as_admin();
    let attached = client.request("attach", json!({ "session": id }));
    assert_eq!(attached["type"], "attached", "{attached}");
    client
}

/// Returns the names, statuses and connections of a session's events.
fn events(server: &TestServer, id: &str) -> Vec<(String, String, u64)> {
    let (status, page) = server.admin_api().get(&format!("/sessions/{id}/events?limit=1000"));
    assert_eq!(status, 200, "{page}");
    let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    let read = |event: &Value| {
        let connections = event["connections"].as_u64().unwrap();
        (text(event, "event"), text(event, "status"), connections)
    };
    page["events"].as_array().unwrap().iter().map(read).collect()
}

fn expected(events: &[(&str, &str, u64)]) -> Vec<(String, String, u64)> {
    let owned = |(event, status, count): &(&str, &str, u64)| {
        (event.to_string(), status.to_string(), *count)
    };
    events.iter().map(owned).collect()
}

/// Returns the row of a session as the database has it.
fn exported(home: &TestHome, id: &str) -> Value {
    serde_json::from_str(&home.output_of(&["sessions", "export", id])).unwrap()
}

#[test]
fn each_transition_is_in_the_history_and_the_row() {
    let home = TestHome::new();
    write_config(&home, "read line; exit 3", "");
    let server = home.start_server();
    let id = create(&server);
    let idle = exported(&home, &id);
    assert_eq!((&idle["status"], &idle["active_connections"]), (&json!("idle"), &json!(0)));
    assert!(idle["destroy_at"].is_u64(), "{idle}");

    let first = attach(&server, &id);
    let second = attach(&server, &id);
    wait_until(TIMEOUT, "both are recorded", || exported(&home, &id)["active_connections"] == 2);
    let active = exported(&home, &id);
    assert_eq!((&active["status"], &active["destroy_at"]), (&json!("active"), &Value::Null));
    first.close();
    second.close();
    wait_for_status(&server, &id, "idle");
    assert!(session(&server, &id)["destroy_at"].is_u64());

    let mut client = attach(&server, &id);
    client.send("input", json!({ "session": id, "data": "\r" }));
    let ended = client.wait_for(|message| !message["payload"]["exit"].is_null());
    assert_eq!(ended["payload"]["status"], "error");
    // The row is durable before the end is announced.
    let row = exported(&home, &id);
    assert_eq!(row["exit"]["code"], 3);
    assert_eq!((&row["status"], &row["active_connections"]), (&json!("error"), &json!(0)));
    assert_eq!(row["reason"], "the program exited with code 3");

    let all = expected(&[
        ("created", "starting", 0),
        ("started", "idle", 0),
        ("attached", "active", 1),
        ("attached", "active", 2),
        ("detached", "active", 1),
        ("detached", "idle", 0),
        ("attached", "active", 1),
        ("ended", "error", 0),
    ]);
    assert_eq!(events(&server, &id), all);
    let (_, page) = server.admin_api().get(&format!("/sessions/{id}/events?limit=2&after=1"));
    assert_eq!((&page["events"][0]["number"], &page["next"]), (&json!(2), &json!(3)));

    // Its history outlives the session; other users do not see it.
    assert_eq!(server.admin_api().delete(&format!("/sessions/{id}")), 204);
    assert_eq!(events(&server, &id).last(), Some(&("removed".into(), "error".into(), 0)));
    let bob = server.api(&home.token("bob", "1h"));
    assert_eq!(bob.get(&format!("/sessions/{id}/events")).0, 404);
}

#[test]
fn a_failed_start_is_recorded_with_its_reason() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[profiles.terminal]\ncommand = [\"/missing\"]\n");
    let server = home.start_server();
    let (status, _) = server.admin_api().post("/sessions", &json!({ "id": "s-1" }));
    assert_eq!(status, 409);

    let row = exported(&home, "s-1");
    assert_eq!(row["status"], "error");
    assert!(row["reason"].as_str().unwrap().contains("/missing"), "{row}");
    let all = expected(&[("created", "starting", 0), ("start_failed", "error", 0)]);
    assert_eq!(events(&server, "s-1"), all);
}

#[test]
fn an_idle_session_ends_and_one_in_use_does_not() {
    let home = TestHome::new();
    write_config(&home, "exec cat", "idle_timeout = \"1s\"");
    let server = home.start_server();
    let (used, idle) = (create(&server), create(&server));
    let mut client = attach(&server, &used);
    wait_for_status(&server, &idle, "terminated");

    let info = session(&server, &idle);
    assert_eq!(info["reason"], "no connection was attached for 1s");
    assert_eq!(info["destroy_at"], Value::Null);
    assert_eq!(events(&server, &idle).last(), Some(&("ended".into(), "terminated".into(), 0)));

    // The one in use is older than the time-out and answers.
    client.send("input", json!({ "session": used, "data": "alive" }));
    wait_for_output(&mut client, "alive");
    assert_eq!(session(&server, &used)["status"], "active");
    client.close();
    wait_for_status(&server, &used, "terminated");
}

fn wait_for_output(client: &mut TestClient, text: &str) {
    let mut output = String::new();
    while !output.contains(text) {
        if let Message::Binary(bytes) = client.read() {
            output.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn rows_equal_reality_after_a_killed_server() {
    let home = TestHome::new();
    let script = "if [ -e first ]; then while [ ! -e go ]; do sleep 0.01; done; exit 5; fi; \
                  exec cat";
    write_config(&home, script, "");
    let server = home.start_server();
    let used = create(&server);
    let idle = create(&server);
    let lost = create(&server);
    home.write("first", "");
    let exits = create(&server);
    let client = attach(&server, &used);
    wait_until(TIMEOUT, "the attach is recorded", || exported(&home, &used)["status"] == "active");
    let deadline = exported(&home, &idle)["deadline"].clone();
    server.stop(Signal::KILL);
    drop(client);

    // A program ends without a server, and a terminal vanishes.
    home.write("go", "");
    end_terminal(&home, &lost);
    let server = home.start_server();
    wait_for_status(&server, &exits, "error");
    assert_eq!(exported(&home, &exits)["exit"]["code"], 5);
    wait_until(TIMEOUT, "the counts are zero", || {
        exported(&home, &used)["active_connections"] == 0
    });
    assert_eq!(exported(&home, &used)["status"], "idle");
    assert_eq!(session(&server, &used)["status"], "idle");

    // Time without a server counts: the deadline is the same, but for rounding.
    let at = |deadline: &Value| deadline["at"].as_u64().unwrap();
    wait_until(TIMEOUT, "the recovery is recorded", || {
        events(&server, &idle).last().unwrap().0 == "recovered"
    });
    let difference = at(&exported(&home, &idle)["deadline"]).abs_diff(at(&deadline));
    assert!(difference < 100, "{difference}");

    wait_until(TIMEOUT, "the loss is recorded", || exported(&home, &lost)["status"] == "error");
    let row = exported(&home, &lost);
    assert!(row["reason"].as_str().unwrap().contains("gone"), "{row}");
    assert_eq!(server.admin_api().get(&format!("/sessions/{lost}")).0, 404);
    assert_eq!(events(&server, &lost).last(), Some(&("lost".into(), "error".into(), 0)));
}

/// Ends a terminal and removes all its files.
fn end_terminal(home: &TestHome, id: &str) {
    let other = home.data_path("other");
    let terminals = other.join("terminals");
    // Another mode would let other users place terminals in it.
    DirBuilder::new().recursive(true).mode(0o700).create(&terminals).unwrap();
    let directories = fs::read_dir(home.data_path("terminals")).unwrap().flatten();
    let mut directories = directories.map(|entry| entry.path());
    let has_id = |path: &Path| {
        fs::read_to_string(path.join("session.json")).unwrap_or_default().contains(id)
    };
    let directory = directories.find(|path| has_id(path)).expect("a terminal");
    let target = terminals.join(directory.file_name().unwrap());
    fs::rename(directory, &target).unwrap();
    home.output_of(&["kill", "--all", "--data-dir", other.to_str().unwrap()]);
    fs::remove_dir_all(target).unwrap();
}

#[test]
fn a_terminal_without_a_row_is_adopted() {
    let home = TestHome::new();
    write_config(&home, "exec cat", "");
    let server = home.start_server();
    let id = create(&server);
    server.stop(Signal::KILL);
    for file in ["rejoin.db", "rejoin.db-wal", "rejoin.db-shm"] {
        let _ = fs::remove_file(home.data_path(file));
    }

    let server = home.start_server();
    assert_eq!(session(&server, &id)["status"], "idle");
    wait_until(TIMEOUT, "a row is made", || {
        home.output_of(&["sessions", "list"]).contains(&format!("{id}\tidle\tpresent\tann"))
    });
}

#[test]
fn a_locked_store_disturbs_no_terminal_and_loses_no_transition() {
    let home = TestHome::new();
    write_config(&home, "head -c 6; exit 4", "");
    let server = home.start_server();
    let id = create(&server);
    let mut client = attach(&server, &id);
    wait_until(TIMEOUT, "the attach is recorded", || exported(&home, &id)["status"] == "active");

    let mut database = Database::open(&home.data_path("rejoin.db"));
    database.execute("BEGIN IMMEDIATE");
    // A transition that waits for the store, and a terminal that does not.
    let second = attach(&server, &id);
    server.wait_for_log("database is locked");
    client.send("input", json!({ "session": id, "data": "abc\r" }));
    wait_for_output(&mut client, "abc");
    client.send("input", json!({ "session": id, "data": "de\r" }));
    wait_for_output(&mut client, "de");

    // The program has ended, and that is announced once it is in the store.
    let input = json!({ "session": id, "data": "x" });
    wait_until(TIMEOUT, "the program ends", || {
        client.request("input", input.clone())["payload"]["code"] == "session_ended"
    });
    assert_eq!(session(&server, &id)["status"], "active");
    drop(second);
    database.execute("COMMIT");
    let ended = client.wait_for(|message| !message["payload"]["exit"].is_null());
    assert_eq!(ended["payload"]["exit"]["code"], 4);
    server.wait_for_log("takes transitions of sessions again");
    let names: Vec<_> = events(&server, &id).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names[..4], ["created", "started", "attached", "attached"]);
    assert!(names.contains(&"ended".to_owned()), "{names:?}");
}

#[test]
fn unusable_databases_stop_the_start_with_one_line() {
    let start_error =
        |home: &TestHome| error_line(home.rejoin(&["serve", "--listen", "127.0.0.1:0"]));
    let home = TestHome::new();
    home.start_server().stop(Signal::TERM);
    let path = home.data_path("rejoin.db");
    let mut database = Database::open(&path);
    database.execute("UPDATE store_schema SET version = 99");
    let error = start_error(&home);
    assert!(error.contains("99") && error.contains("newer version"), "{error}");

    database.execute("PRAGMA application_id = 7");
    let error = start_error(&home);
    assert!(error.contains("another program"), "{error}");

    home.write("rejoin.toml", "[store]\nurl = \"mysql://u:secret@host/db\"\n");
    let error = start_error(&home);
    assert!(error.contains("sqlite:FILE") && !error.contains("secret"), "{error}");
    assert!(error.contains("or \"memory:\""), "{error}");
    home.write("rejoin.toml", "[sessions]\nidle_timeout = \"0s\"\n");
    let error = start_error(&home);
    assert!(error.contains("never"), "{error}");
}

#[test]
fn a_row_edited_to_nonsense_is_reported_and_set_right() {
    let home = TestHome::new();
    write_config(&home, "exec cat", "");
    let server = home.start_server();
    let (good, bad) = (create(&server), create(&server));
    server.stop(Signal::KILL);
    let mut database = Database::open(&home.data_path("rejoin.db"));
    database.execute(
        "UPDATE sessions SET status = 'dancing' WHERE id = (SELECT max(id) FROM sessions)",
    );

    let server = home.start_server();
    server.wait_for_log("the column `status` has a value that is not allowed");
    for id in [&good, &bad] {
        assert_eq!(session(&server, id)["status"], "idle");
        wait_until(TIMEOUT, "the row is right", || {
            home.output_of(&["sessions", "list"]).contains(&format!("{id}\tidle"))
        });
    }
}

#[test]
fn records_are_listed_exported_backed_up_and_pruned() {
    let home = TestHome::new();
    let error = home.error_of(&["sessions", "list"]);
    assert!(error.contains("no server has run"), "{error}");
    write_config(&home, "exec cat", "");
    let server = home.start_server();
    let (stays, goes) = (create(&server), create(&server));
    assert_eq!(server.admin_api().delete(&format!("/sessions/{goes}")), 204);

    let list = home.output_of(&["sessions", "list"]);
    assert!(list.contains(&format!("{goes}\tterminated\tremoved\tann\tterminal")), "{list}");
    let shown = home.output_of(&["sessions", "show", &goes]);
    assert!(shown.lines().last().unwrap().contains("removed\tterminated\t0"), "{shown}");

    let backup = home.path("backup.db").display().to_string();
    home.output_of(&["backup", &backup]);
    assert!(home.error_of(&["backup", &backup]).contains("exists already"));
    let pruned = home.output_of(&["sessions", "prune"]);
    assert_eq!(pruned, "deleted the records of 1 removed sessions\n");
    assert!(home.error_of(&["sessions", "show", &goes]).contains("no record"));
    assert!(home.output_of(&["sessions", "list"]).contains(&stays));

    // The backup is a store.
    server.stop(Signal::TERM);
    fs::copy(&backup, home.data_path("rejoin.db")).unwrap();
    assert!(home.output_of(&["sessions", "show", &goes]).contains("removed"));
}
