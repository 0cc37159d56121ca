//! The API about connections: per session, per topic, and when they were last active.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{TestHome, TestServer, frame_client::message, wait_until};

/// Time limit for the server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Returns a field of a connection.
fn connection_field(server: &TestServer, id: &str, name: &str) -> Value {
    let (status, connection) = server.admin_api().get(&format!("/connections/{id}"));
    assert_eq!(status, 200, "{connection}");

    connection[name].clone()
}

#[test]
fn a_session_lists_its_attached_connections() {
    let home = TestHome::new();
    let server = home.start_server();
    let token = server.admin_token();

    let mut first = server.frame_client(token, "laptop");
    let mut second = server.frame_client(token, "phone");
    let _not_attached = server.frame_client(token, "tablet");
    let session = first.attach_to_new_terminal();
    let attached = second.request("attach", json!({ "session": session, "role": "viewer" }));
    assert_eq!(attached["type"], "attached", "{attached}");

    let listed = || {
        let path = format!("/sessions/{session}/connections");
        let (status, page) = server.admin_api().get(&path);
        assert_eq!(status, 200, "{page}");
        let connections = page["connections"].as_array().unwrap().iter();
        connections.map(|connection| connection["id"].clone()).collect::<Vec<_>>()
    };

    assert_eq!(listed(), [json!(first.id), json!(second.id)]);
    assert_eq!(second.request("detach", json!({ "session": session }))["type"], "ack");
    assert_eq!(listed(), [json!(first.id)]);

    first.close();
    wait_until(TIMEOUT, "the session has no connection", || listed().is_empty());
}

#[test]
fn presence_counts_subscribers_until_they_leave() {
    let home = TestHome::new();
    // Without a grace period a member leaves with the last connection.
    home.write("rejoin.toml", "[limits]\npresence_grace = \"0s\"\n");
    let server = home.start_server();

    let presence = || server.admin_api().get("/topics/news/presence").1;
    let mut clients: Vec<_> =
        ["ann", "bob"].map(|user| server.frame_client(&home.token(user, "1h"), "laptop")).into();
    for client in &mut clients {
        assert_eq!(client.request("subscribe", json!({ "topic": "news" }))["type"], "ack");
    }

    let state = presence();
    assert_eq!((&state["users"], &state["connections"]), (&json!(2), &json!(2)), "{state}");

    let members = state["members"].as_array().unwrap();
    let users: Vec<_> = members.iter().map(|member| member["user"].as_str().unwrap()).collect();
    assert_eq!(users, ["ann", "bob"]);

    clients.pop().unwrap().close();
    wait_until(TIMEOUT, "a subscriber leaves", || presence()["connections"] == 1);
}

#[test]
fn input_advances_the_times_of_connection_and_session() {
    let home = TestHome::new();
    let server = home.start_server();

    let mut client = server.frame_client(server.admin_token(), "laptop");
    let session = client.attach_to_new_terminal();
    let last_heard = || connection_field(&server, &client.id, "last_heard_at").as_u64().unwrap();
    let last_active = || {
        let (_, info) = server.admin_api().get(&format!("/sessions/{session}"));
        info["last_activity_at"].as_u64().unwrap()
    };

    let (first_heard, first_active) = (last_heard(), last_active());
    let typed = json!({ "session": session, "data": "x" });
    let type_once = || client.send(&[message("input", typed.clone())]);
    // The times are in milliseconds, so the first inputs may not advance them.
    wait_until(TIMEOUT, "both times advance", || {
        type_once();
        last_heard() > first_heard && last_active() > first_active
    });

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(u128::from(last_heard()) <= now.as_millis());
}
