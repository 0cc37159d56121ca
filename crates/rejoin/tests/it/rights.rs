//! What a user with few rights cannot do.

use serde_json::{Value, json};

use crate::support::{Home, hostile::binary};

/// A token of a user with rights to sessions only.
fn token(home: &Home, user: &str, rights: &[&str]) -> String {
    home.write("caps.json", &json!({ "sessions": { "*": rights } }).to_string());
    let arguments = ["token", "--user", user, "--ttl", "1h", "--caps", "caps.json"];
    home.prints(&arguments).trim_end().to_owned()
}

#[test]
fn a_right_to_create_is_none_to_read_or_type() {
    let home = Home::new();
    let server = home.serve();
    let path = |id: &str, query: &str| format!("/ws/terminal/{id}?create=true{query}");
    let creator = token(&home, "bob", &["create"]);
    for query in ["", "&role=writer", "&role=viewer"] {
        assert_eq!(server.open(&path("a", query), &creator).err(), Some(403), "{query}");
    }
    let viewer = token(&home, "bob", &["create", "attach"]);
    assert_eq!(server.open(&path("a", "&role=writer"), &viewer).err(), Some(403));
    let typist = token(&home, "bob", &["create", "write"]);
    assert_eq!(server.open(&path("a", ""), &typist).err(), Some(403));
    // Nothing was started.
    let sessions = server.admin().get("/sessions").1;
    assert_eq!(sessions["sessions"], Value::Array(Vec::new()), "{sessions}");

    // Who may attach only looks on, also at a session of its own making.
    let mut looking = server.open(&path("b", ""), &viewer).unwrap();
    let user = token(&home, "bob", &["create", "attach", "write"]);
    let mut typing = server.open(&path("b", ""), &user).unwrap();
    looking.send(&[binary(b"touch looked\r")]);
    looking.fence();
    typing.send(&[binary(b"touch typed; echo $((6 * 7))0\r")]);
    typing.prints("420");
    assert!(home.path("typed").exists() && !home.path("looked").exists());
}

#[test]
fn random_devices_of_ones_own_take_no_memory_and_nobody_elses_streams() {
    const EMITS: usize = 1200;
    const BYTES: usize = 60_000;
    let home = Home::new();
    let limits = "max_topics = 300\nmax_retained_bytes_per_user = \"4MiB\"\n";
    home.write("rejoin.toml", &format!("[limits]\n{limits}"));
    let server = home.serve();
    let (ann, bob) = (server.api(&home.token("ann", "1h")), server.api(&home.token("bob", "1h")));
    let event = json!({ "data": "x".repeat(BYTES) });
    let before = server.resident_bytes();
    for device in 0..EMITS {
        let (status, answer) = ann.post(&format!("/users/ann/devices/d{device}/emit"), &event);
        assert!(status == 200 || answer["code"] == "overloaded", "{status} {answer}");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < EMITS * BYTES / 2, "{grown} bytes");
    for device in 0..100 {
        let event = json!({ "data": 1 });
        let (status, answer) = bob.post(&format!("/users/bob/devices/d{device}/emit"), &event);
        assert_eq!(status, 200, "{answer}");
    }
}

#[test]
fn answers_that_are_kept_for_retries_take_little_memory() {
    const REQUESTS: usize = 1500;
    const BYTES: usize = 60_000;
    let home = Home::new();
    let server = home.serve();
    let ann = server.api(&home.token("ann", "1h"));
    let wrong = json!({ "signal": "x".repeat(BYTES) });
    let before = server.resident_bytes();
    for number in 0..REQUESTS {
        let path = "/sessions/none/signal";
        let (status, answer) = ann.post_once(path, &wrong, &number.to_string());
        assert_eq!(status, 400, "{answer}");
        assert!(answer.len() < 1024, "{} bytes", answer.len());
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < REQUESTS * BYTES / 2, "{grown} bytes");
}

#[test]
fn a_ticket_is_spent_by_the_socket_that_it_opens_only() {
    let home = Home::new();
    let server = home.serve();
    let viewer = token(&home, "bob", &["create", "attach"]);
    let bob = server.api(&viewer);
    let (status, session) = bob.post("/sessions", &json!({}));
    assert_eq!(status, 201, "{session}");
    let id = session["id"].as_str().unwrap();
    let (status, ticket) = bob.post("/tickets", &json!({}));
    assert_eq!(status, 201, "{ticket}");
    let ticket = ticket["ticket"].as_str().unwrap();
    for (path, status) in [
        ("session/none?role=viewer".to_owned(), 404),
        (format!("other/{id}?role=viewer"), 404),
        (format!("session/{id}?role=writer"), 403),
        (format!("session/{id}?role=king"), 400),
        ("terminal/more?create=true&role=writer".to_owned(), 403),
    ] {
        let refused = server.open_without_token(&format!("/ws/{path}&ticket={ticket}")).err();
        assert_eq!(refused, Some(status), "{path}");
    }
    let path = format!("/ws/session/{id}?ticket={ticket}");
    let mut opened = server.open_without_token(&path).expect("a socket");
    opened.fence();
    assert_eq!(server.open_without_token(&path).err(), Some(401));
}

#[test]
fn an_answer_is_replayed_to_tokens_with_the_same_rights_only() {
    let home = Home::new();
    let server = home.serve();
    let strong = server.api(&token(&home, "bob", &["create", "attach"]));
    let weak = server.api(&token(&home, "bob", &[]));
    let (status, first) = strong.post_once("/sessions", &json!({}), "a");
    assert_eq!(status, 201, "{first}");
    assert_eq!(strong.post_once("/sessions", &json!({}), "a"), (201, first));
    let (status, answer) = weak.post_once("/sessions", &json!({}), "a");
    assert_eq!(status, 422, "{answer}");

    // A ticket is for the token that asks, whatever its key.
    let tickets: Vec<_> =
        [&strong, &strong, &weak].map(|api| api.post_once("/tickets", &json!({}), "b")).into();
    assert!(tickets.iter().all(|(status, _)| *status == 201), "{tickets:?}");
    assert!(tickets[0] != tickets[1] && tickets[0] != tickets[2], "{tickets:?}");
}

#[test]
fn an_administrators_address_is_hidden_from_the_owner_of_a_session() {
    let home = Home::new();
    let server = home.serve();
    let user = token(&home, "bob", &["create", "attach", "write"]);
    let mut bob = server.hostile(&user, "laptop");
    let session = bob.attach_to_new_terminal();
    let mut admin = server.log_in();
    let attached = admin.ask("attach", json!({ "session": session, "role": "viewer" }));
    assert_eq!(attached["type"], "attached", "{attached}");

    let path = format!("/sessions/{session}/connections");
    let seen_by = |token: &str| server.api(token).get(&path).1["connections"].clone();
    let (of_owner, of_admin) = (seen_by(&user), seen_by(server.login_token()));
    assert_eq!(of_owner[0], of_admin[0]);
    assert_eq!(of_owner[0]["address"], "127.0.0.1");
    assert_eq!((&of_owner[1]["id"], &of_owner[1]["user"]), (&of_admin[1]["id"], &json!("ann")));
    assert_eq!(of_admin[1]["address"], "127.0.0.1");
    assert_eq!((&of_owner[1]["address"], &of_owner[1]["user_agent"]), (&Value::Null, &Value::Null));
    let path = format!("/connections/{}", of_admin[1]["id"].as_str().unwrap());
    assert_eq!(server.api(&user).get(&path).0, 404);
}

#[test]
fn a_ticket_of_a_revoked_user_starts_no_program() {
    let home = Home::new();
    let server = home.serve();
    let bob = server.api(&token(&home, "bob", &["create", "attach", "write"]));
    let (status, ticket) = bob.post("/tickets", &json!({}));
    assert_eq!(status, 201, "{ticket}");
    let admin = server.admin();
    assert_eq!(admin.post("/revocations", &json!({ "user": "bob" })).0, 201);
    let path =
        format!("/ws/terminal/mine?create=true&ticket={}", ticket["ticket"].as_str().unwrap());
    assert_eq!(server.open_without_token(&path).err(), Some(401));
    let (status, list) = admin.get("/sessions?owner=bob");
    assert_eq!((status, &list["sessions"]), (200, &json!([])), "{list}");
}
