//! A server with its sessions in PostgreSQL.

use rustix::process::Signal;
use serde_json::json;

use super::{
    TIMEOUT, attach, create, events, exported, session, wait_for_output, wait_for_status,
    write_config,
};
use crate::{
    postgres::Postgres,
    support::{TestHome, wait_until},
};

#[test]
fn sessions_survive_crashes_of_server_and_postgresql() {
    let postgres = Postgres::start();
    let home = TestHome::new();
    let settings = format!("[store]\nurl = \"{}\"", postgres.url());
    write_config(&home, "head -c 6; exit 3", &settings);
    let server = home.start_server();
    let (exits, stays) = (create(&server), create(&server));
    let mut client = attach(&server, &exits);
    wait_for_status(&server, &exits, "active");
    assert!(!home.data_path("rejoin.db").exists());

    // Without the database the terminal goes on, and its transitions wait.
    postgres.stop();
    let second = attach(&server, &stays);
    server.wait_for_log("the store does not take transitions of sessions");
    client.send("input", json!({ "session": exits, "data": "abcde\r" }));
    wait_for_output(&mut client, "abcde");
    assert_eq!(session(&server, &stays)["status"], "idle");

    postgres.start_again();
    let ended = client.wait_for(|message| !message["payload"]["exit"].is_null());
    assert_eq!(ended["payload"]["exit"]["code"], 3);
    wait_for_status(&server, &stays, "active");
    let names = |id: &str| -> Vec<_> {
        events(&server, id).into_iter().map(|(name, _, count)| (name, count)).collect()
    };
    let expected =
        [("created", 0), ("started", 0), ("attached", 1)].map(|(n, c)| (n.to_owned(), c));
    assert_eq!(names(&stays), expected);
    assert_eq!(names(&exits)[..3], expected);
    assert_eq!(names(&exits)[3], ("ended".to_owned(), 0));
    drop(second);

    // Both are killed.
    server.stop(Signal::KILL);
    postgres.stop();
    let error = home.error_of(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(error.contains("the database postgres in /"), "{error}");
    postgres.start_again();
    let server = home.start_server();
    assert_eq!(session(&server, &stays)["status"], "idle");
    assert_eq!(session(&server, &exits)["exit"]["code"], 3);
    wait_until(TIMEOUT, "the recovery is recorded", || {
        exported(&home, &stays)["active_connections"] == 0
    });
    assert_eq!(events(&server, &stays).last(), Some(&("recovered".into(), "idle".into(), 0)));

    let mut client = attach(&server, &stays);
    client.send("input", json!({ "session": stays, "data": "abcde\r" }));
    let ended = client.wait_for(|message| !message["payload"]["exit"].is_null());
    assert_eq!(ended["payload"]["exit"]["code"], 3);
    assert_eq!(exported(&home, &stays)["exit"]["code"], 3);
}
