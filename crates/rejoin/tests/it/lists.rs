//! What lists show, and who gets what.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Home, Server,
    hostile::{Hostile, message},
    until,
};

/// Limit for what the server does by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// A field of one connection, as the list shows it.
fn field(server: &Server, id: &str, name: &str) -> Value {
    let (status, connection) = server.admin().get(&format!("/connections/{id}"));
    assert_eq!(status, 200, "{connection}");
    connection[name].clone()
}

/// Types a command and waits for a text that it prints, but that is not in the command.
fn run(client: &mut Hostile, session: &str, command: &str, printed: &str) {
    let input = json!({ "session": session, "data": format!("{command}\n") });
    // The output may come before the acknowledgement.
    client.send(&[message("input", input)]);
    client.until_printed(printed);
}

#[test]
fn the_connections_of_a_session_are_those_that_are_attached() {
    let home = Home::new();
    let server = home.serve();
    let token = server.login_token();
    let mut first = server.hostile(token, "laptop");
    let (mut second, _other) = (server.hostile(token, "phone"), server.hostile(token, "tablet"));
    let session = first.attach_to_new_terminal();
    let attached = second.ask("attach", json!({ "session": session, "role": "viewer" }));
    assert_eq!(attached["type"], "attached", "{attached}");
    let listed = || {
        let path = format!("/sessions/{session}/connections");
        let (status, page) = server.admin().get(&path);
        assert_eq!(status, 200, "{page}");
        let connections = page["connections"].as_array().unwrap().iter();
        connections.map(|connection| connection["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed(), [json!(first.id), json!(second.id)]);
    assert_eq!(second.ask("detach", json!({ "session": session }))["type"], "ack");
    assert_eq!(listed(), [json!(first.id)]);
    first.close();
    until(PATIENCE, "the session is left", || listed().is_empty());
}

#[test]
fn the_presence_of_a_topic_counts_each_subscriber_until_it_has_left() {
    let home = Home::new();
    home.write("rejoin.toml", "[limits]\npresence_grace = \"0s\"\n");
    let server = home.serve();
    let presence = || server.admin().get("/topics/news/presence").1;
    let mut clients: Vec<_> =
        ["ann", "bob"].map(|user| server.hostile(&home.token(user, "1h"), "laptop")).into();
    for client in &mut clients {
        assert_eq!(client.ask("subscribe", json!({ "topic": "news" }))["type"], "ack");
    }
    let state = presence();
    assert_eq!((&state["users"], &state["connections"]), (&json!(2), &json!(2)), "{state}");
    let members = state["members"].as_array().unwrap();
    let users: Vec<_> = members.iter().map(|member| member["user"].as_str().unwrap()).collect();
    assert_eq!(users, ["ann", "bob"]);
    clients.pop().unwrap().close();
    until(PATIENCE, "a subscriber has left", || presence()["connections"] == 1);
}

#[test]
fn a_connection_shows_when_it_was_heard_last_and_a_session_when_something_happened() {
    let home = Home::new();
    let server = home.serve();
    let mut client = server.hostile(server.login_token(), "laptop");
    let session = client.attach_to_new_terminal();
    let heard = || field(&server, &client.id, "last_heard_at").as_u64().unwrap();
    let active = || {
        let (_, info) = server.admin().get(&format!("/sessions/{session}"));
        info["last_activity_at"].as_u64().unwrap()
    };
    let (first_heard, first_active) = (heard(), active());
    let typed = json!({ "session": session, "data": "x" });
    let type_once = || client.send(&[message("input", typed.clone())]);
    // Each look comes a little later, until a millisecond has passed.
    until(PATIENCE, "both times go on", || {
        type_once();
        heard() > first_heard && active() > first_active
    });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(u128::from(heard()) <= now.as_millis());
}

#[test]
fn two_terminals_see_nothing_of_each_other() {
    let home = Home::new();
    let server = home.serve();
    let open = || {
        let mut client = server.hostile(server.login_token(), "laptop");
        let session = client.attach_to_new_terminal();
        (client, session)
    };
    let ((mut first, one), (mut second, other)) = (open(), open());
    run(&mut first, &one, "echo of-the-$((1+0))st", "of-the-1st");
    run(&mut second, &other, "echo of-the-$((1+1))nd", "of-the-2nd");
    let screen = |session: &str| server.admin().text(&format!("/sessions/{session}/screen"));
    assert!(screen(&one).contains("of-the-1st") && !screen(&one).contains("of-the-2nd"));
    assert!(screen(&other).contains("of-the-2nd") && !screen(&other).contains("of-the-1st"));
    // Without an attachment nothing reaches the program.
    let refused = first.ask("signal", json!({ "session": other, "signal": "SIGKILL" }));
    assert_eq!(refused["payload"]["code"], "not_attached", "{refused}");
}

#[test]
fn a_broadcast_reaches_each_of_ten_connections_once() {
    let home = Home::new();
    let server = home.serve();
    let mut clients: Vec<_> = (0..10)
        .map(|_| {
            let mut client = server.hostile(server.login_token(), "laptop");
            assert_eq!(client.ask("subscribe", json!({ "topic": "news" }))["type"], "ack");
            client
        })
        .collect();
    for data in ["first", "last"] {
        server.admin().publish("news", &json!(data));
    }
    for client in &mut clients {
        let mut next = || client.until(|message| message["type"] == "message").unwrap();
        assert_eq!(next()["payload"]["data"], "first");
        assert_eq!(next()["payload"]["data"], "last");
    }
}
