//! Lost sessions: their last screen, and the sessions that replace them.

use std::{fs, sync::Barrier, thread};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{
    Database, TIMEOUT, attach, create, events, expected, exported, session, wait_for_status,
    write_config,
};
use crate::support::{TestHome, TestServer, wait_until};

/// Returns the keeper of a session, found by the name that process lists show.
fn keeper(id: &str) -> Pid {
    let name = format!("rejoin: keeper {id}\0");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut keepers = ids.filter(|id| {
        fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default().starts_with(&name)
    });
    Pid::from_raw(keepers.next().expect("a keeper")).unwrap()
}

/// Kills the keeper of a session, and waits until the session is lost.
fn lose(server: &TestServer, id: &str) {
    kill_process(keeper(id), Signal::KILL).unwrap();
    wait_until(TIMEOUT, "it is lost", || session(server, id)["lost"] == true);
}

fn revive(server: &TestServer, id: &str) -> (u16, Value) {
    server.admin_api().post(&format!("/sessions/{id}/revive"), &json!({}))
}

fn wait_for_screen(server: &TestServer, id: &str, text: &str) {
    let path = format!("/sessions/{id}/screen");
    wait_until(TIMEOUT, text, || server.admin_api().text(&path).contains(text));
}

/// Returns the sessions that replace a lost one.
fn replacements(server: &TestServer, id: &str) -> Vec<String> {
    let (_, page) = server.admin_api().get("/sessions?limit=1000");
    let sessions = page["sessions"].as_array().unwrap().iter();
    let new = sessions.filter(|session| session["revived_from"] == id);
    new.map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_lost_session_is_replaced_by_one_like_it() {
    let home = TestHome::new();
    write_config(&home, "pwd; echo work; read line; exit 3", "");
    home.write("project/file", "");
    let cwd = home.path("project").display().to_string();
    let server = home.start_server();
    let start = json!({ "name": "build", "cwd": cwd, "cols": 97, "rows": 31 });
    let (status, lost) = server.admin_api().post("/sessions", &start);
    assert_eq!(status, 201, "{lost}");
    let id = lost["id"].as_str().unwrap().to_owned();
    wait_for_screen(&server, &id, "work");
    let (status, refused) = revive(&server, &id);
    assert_eq!((status, &refused["code"]), (409, &json!("session_not_lost")), "{refused}");

    // Server, keeper and program are gone at once.
    server.stop(Signal::KILL);
    kill_process(keeper(&id), Signal::KILL).unwrap();
    let server = home.start_server();
    wait_for_status(&server, &id, "error");
    wait_for_screen(&server, &id, "work");
    let info = session(&server, &id);
    assert_eq!((&info["lost"], &info["exit"]["code"]), (&json!(true), &Value::Null));
    assert!(info["reason"].as_str().unwrap().contains("lost: its keeper"), "{info}");

    // Another user does not find it, and an administrator does not get it.
    let path = format!("/sessions/{id}/revive");
    assert_eq!(server.api(&home.token("bob", "1h")).post(&path, &json!({})).0, 404);
    let carol = home.output_of(&["token", "--user", "carol", "--admin"]);
    let (status, refused) = server.api(carol.trim_end()).post(&path, &json!({}));
    assert_eq!(status, 403, "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("`ann`"), "{refused}");

    let (status, revived) = revive(&server, &id);
    assert_eq!(status, 201, "{revived}");
    let new = revived["id"].as_str().unwrap().to_owned();
    assert_ne!(new, id);
    for (field, value) in [
        ("revived_from", json!(id)),
        ("profile", json!("terminal")),
        ("name", json!("build")),
        ("cols", json!(97)),
        ("rows", json!(31)),
    ] {
        assert_eq!(revived[field], value, "{field}");
    }
    wait_for_screen(&server, &new, "project");
    wait_for_screen(&server, &id, "work");
    assert_eq!(session(&server, &id)["revived_as"], new);
    let all = events(&server, &id);
    assert_eq!(all[all.len() - 2..], expected(&[("lost", "error", 0), ("revived", "error", 0)]));

    // Its labels outlive the server, and an exit that is known is no loss.
    server.stop(Signal::KILL);
    let server = home.start_server();
    wait_until(TIMEOUT, "it is back", || session(&server, &new)["revived_from"] == id);
    assert_eq!(session(&server, &id)["revived_as"], new);
    let (status, refused) = revive(&server, &id);
    assert_eq!(status, 409);
    assert!(refused["detail"].as_str().unwrap().contains(&new), "{refused}");
    let shown = home.output_of(&["sessions", "show", &new]);
    assert!(shown.contains(&format!("revived from\t{id}\n")), "{shown}");
    let shown = home.output_of(&["sessions", "show", &id]);
    assert!(shown.contains(&format!("revived as\t{new}\n")), "{shown}");

    let mut client = attach(&server, &new);
    client.send("input", json!({ "session": new, "data": "\r" }));
    let ended = client.wait_for(|message| !message["payload"]["exit"].is_null());
    assert_eq!(ended["payload"]["exit"]["code"], 3);
    let (status, refused) = revive(&server, &new);
    assert_eq!((status, &refused["code"]), (409, &json!("session_not_lost")));
    assert!(refused["detail"].as_str().unwrap().contains("ended by itself"), "{refused}");
}

#[test]
fn a_restart_of_the_machine_loses_its_sessions() {
    let home = TestHome::new();
    write_config(&home, "echo kept; exec cat", "");
    let server = home.start_server();
    let (lost, stays) = (create(&server), create(&server));
    wait_for_screen(&server, &lost, "kept");
    server.stop(Signal::KILL);

    // As after a restart: the keeper is gone, and what is on disk names another boot.
    kill_process(keeper(&lost), Signal::KILL).unwrap();
    let mut database = Database::open(&home.data_path("rejoin.db"));
    database.execute("UPDATE sessions SET deadline_boot = 'another boot'");
    drop(database);
    let leader = home.data_path(&format!("terminals/{lost}/leader.json"));
    let mut text: Value = serde_json::from_str(&fs::read_to_string(&leader).unwrap()).unwrap();
    text["boot"] = json!("another boot");
    fs::write(&leader, text.to_string()).unwrap();

    let server = home.start_server();
    wait_until(TIMEOUT, "it is lost", || session(&server, &lost)["lost"] == true);
    let info = session(&server, &lost);
    assert_eq!(info["reason"], "the program was lost: the machine was restarted");
    wait_for_screen(&server, &lost, "kept");
    assert_eq!(exported(&home, &lost)["exit"], Value::Null);

    // A keeper that answers proves its row wrong.
    assert_eq!(session(&server, &stays)["status"], "idle");
    assert_eq!(revive(&server, &stays).0, 409);

    // The new session is a session of its own: a position of the lost one is none of it.
    let mut client = server.connect_as_admin();
    let old = client.request("attach", json!({ "session": lost }));
    let revived = client.request("revive_session", json!({ "session": lost }));
    let new = revived["payload"]["session"]["id"].as_str().expect("a session").to_owned();
    let position = &old["payload"]["position"];
    let attached = client.request("attach", json!({ "session": new, "position": position }));
    assert_eq!(attached["payload"]["verdict"], "snapshot", "{attached}");
    assert_eq!(attached["payload"]["reason"], "epoch", "{attached}");
    client.send("input", json!({ "session": new, "data": "typed\r" }));
    wait_for_screen(&server, &new, "typed");
}

#[test]
fn a_revival_cut_off_by_a_crash_is_completed() {
    let home = TestHome::new();
    write_config(&home, "exec cat", "");
    let server = home.start_server();
    let id = create(&server);
    lose(&server, &id);
    let (status, revived) = revive(&server, &id);
    assert_eq!(status, 201, "{revived}");
    server.stop(Signal::KILL);

    // As if the crash came between the two records.
    let mut database = Database::open(&home.data_path("rejoin.db"));
    database.execute("UPDATE sessions SET revived_as = NULL");
    database.execute("DELETE FROM session_events WHERE event = 'revived'");
    drop(database);
    let server = home.start_server();
    wait_until(TIMEOUT, "the mark is back", || {
        session(&server, &id)["revived_as"] == revived["id"]
    });
    assert_eq!(revive(&server, &id).0, 409);
    assert_eq!(replacements(&server, &id).len(), 1);
}

#[test]
fn a_store_of_version_1_knows_its_lost_sessions() {
    let home = TestHome::new();
    write_config(&home, "exec cat", "");
    let server = home.start_server();
    let id = create(&server);
    lose(&server, &id);
    server.stop(Signal::KILL);

    let mut database = Database::open(&home.data_path("rejoin.db"));
    database.execute("ALTER TABLE sessions DROP COLUMN revived_from");
    database.execute("ALTER TABLE sessions DROP COLUMN revived_as");
    database.execute(
        "UPDATE sessions SET has_exit = 1, \
         reason = 'the process that held the terminal, its keeper, was ended'",
    );
    database.execute("UPDATE store_schema SET version = 1");
    drop(database);
    let server = home.start_server();
    wait_until(TIMEOUT, "it is lost", || session(&server, &id)["lost"] == true);
    // The row was read, and not made anew from the terminal.
    let names: Vec<_> = events(&server, &id).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["created", "started", "lost"]);
    assert_eq!(revive(&server, &id).0, 201);
}

#[test]
fn a_revival_that_fails_changes_nothing() {
    let home = TestHome::new();
    write_config(&home, "exec cat", "[limits]\nmax_sessions_per_user = 1");
    home.write("project/file", "");
    let cwd = home.path("project").display().to_string();
    let server = home.start_server();
    let (_, lost) = server.admin_api().post("/sessions", &json!({ "cwd": cwd }));
    let id = lost["id"].as_str().unwrap().to_owned();
    lose(&server, &id);

    let other = create(&server);
    let (status, refused) = revive(&server, &id);
    assert_eq!((status, &refused["code"]), (429, &json!("too_many_sessions")));
    assert_eq!(server.admin_api().delete(&format!("/sessions/{other}")), 204);

    fs::remove_dir_all(home.path("project")).unwrap();
    let (status, refused) = revive(&server, &id);
    assert_eq!((status, &refused["code"]), (409, &json!("start_failed")));
    let unchanged = session(&server, &id);
    assert_eq!((&unchanged["lost"], &unchanged["revived_as"]), (&json!(true), &Value::Null));

    // A key makes a retry the same revival.
    home.write("project/file", "");
    let path = format!("/sessions/{id}/revive");
    let (status, first) = server.admin_api().post_with_key(&path, &json!({}), "a");
    assert_eq!(status, 201, "{first}");
    assert_eq!(server.admin_api().post_with_key(&path, &json!({}), "a"), (201, first));
    assert_eq!(replacements(&server, &id).len(), 1);
}

#[test]
fn racing_clients_revive_a_session_once() {
    const CLIENTS: usize = 8;
    let home = TestHome::new();
    write_config(&home, "exec cat", "");
    let server = home.start_server();
    let id = create(&server);
    lose(&server, &id);

    // Half of them give up without reading, in the middle of the start.
    let gate = Barrier::new(CLIENTS);
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (gate, server, id) = (&gate, &server, &id);
            scope.spawn(move || {
                let mut client = attach(server, id);
                gate.wait();
                let payload = json!({ "session": id });
                if number % 2 == 0 {
                    return client.send("revive_session", payload);
                }
                let answer = client.request("revive_session", payload);
                let code = &answer["payload"]["code"];
                assert!(answer["type"] == "ack" || code == "session_not_lost", "{answer}");
            });
        }
    });

    // One that vanished may have stopped its own start: the session can then be revived.
    let (status, answer) = revive(&server, &id);
    assert!(status == 201 || status == 409, "{answer}");
    wait_until(TIMEOUT, "it is marked", || session(&server, &id)["revived_as"].is_string());
    let new = replacements(&server, &id);
    assert_eq!(new, [session(&server, &id)["revived_as"].as_str().unwrap()]);
    let mut client = attach(&server, &new[0]);
    client.send("input", json!({ "session": new[0], "data": "alive\r" }));
    wait_for_screen(&server, &new[0], "alive");
}

#[test]
fn a_removal_and_a_revival_leave_both_or_none() {
    const SESSIONS: usize = 6;
    let home = TestHome::new();
    write_config(&home, "exec cat", "");
    let server = home.start_server();
    let ids: Vec<_> = (0..SESSIONS).map(|_| create(&server)).collect();
    ids.iter().for_each(|id| lose(&server, id));

    for id in &ids {
        let gate = Barrier::new(2);
        let (removed, (status, answer)) = thread::scope(|scope| {
            let removal = scope.spawn(|| {
                gate.wait();
                server.admin_api().delete(&format!("/sessions/{id}"))
            });
            gate.wait();
            let answer = revive(&server, id);
            (removal.join().unwrap(), answer)
        });
        assert_eq!(removed, 204);
        assert!(status == 201 || status == 404, "{answer}");
        assert_eq!(replacements(&server, id).len(), usize::from(status == 201));
        assert_eq!(server.admin_api().get(&format!("/sessions/{id}")).0, 404);
        assert_eq!(events(&server, id).last().unwrap().0, "removed");
    }
}
