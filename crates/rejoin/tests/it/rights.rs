//! The bounds of a user with few rights.

use serde_json::{Value, json};

use crate::support::{TestHome, frame_client::binary};

/// Returns a token with these rights to all sessions, and no others.
fn session_token(home: &TestHome, user: &str, rights: &[&str]) -> String {
    home.write("caps.json", &json!({ "sessions": { "*": rights } }).to_string());
    let arguments = ["token", "--user", user, "--ttl", "1h", "--caps", "caps.json"];
    home.output_of(&arguments).trim_end().to_owned()
}

#[test]
fn the_right_to_create_does_not_include_read_or_write() {
    let home = TestHome::new();
    let server = home.start_server();

    let path = |id: &str, query: &str| format!("/ws/terminal/{id}?create=true{query}");
    let creator = session_token(&home, "bob", &["create"]);
    for query in ["", "&role=writer", "&role=viewer"] {
        assert_eq!(server.open_socket(&path("a", query), &creator).err(), Some(403), "{query}");
    }

    let viewer = session_token(&home, "bob", &["create", "attach"]);
    assert_eq!(server.open_socket(&path("a", "&role=writer"), &viewer).err(), Some(403));

    let writer = session_token(&home, "bob", &["create", "write"]);
    assert_eq!(server.open_socket(&path("a", ""), &writer).err(), Some(403));

    // No refused request started a program.
    let sessions = server.admin_api().get("/sessions").1;
    assert_eq!(sessions["sessions"], Value::Array(Vec::new()), "{sessions}");

    // A user without the right to write is a viewer, even of a session that the user created.
    let mut viewing = server.open_socket(&path("b", ""), &viewer).unwrap();
    let user = session_token(&home, "bob", &["create", "attach", "write"]);
    let mut typing = server.open_socket(&path("b", ""), &user).unwrap();

    // The fence: the server has dropped the viewer's input before the writer types.
    viewing.send(&[binary(b"touch viewed\r")]);
    viewing.fence();
    typing.send(&[binary(b"touch typed; echo $((6 * 7))0\r")]);
    typing.wait_for_output("420");
    assert!(home.path("typed").exists() && !home.path("viewed").exists());
}

#[test]
fn a_ticket_is_used_up_only_by_an_opened_socket() {
    let home = TestHome::new();
    let server = home.start_server();

    let viewer = session_token(&home, "bob", &["create", "attach"]);
    let bob = server.api(&viewer);
    let (status, session) = bob.post("/sessions", &json!({}));
    assert_eq!(status, 201, "{session}");

    let id = session["id"].as_str().unwrap();
    let (status, ticket) = bob.post("/tickets", &json!({}));
    assert_eq!(status, 201, "{ticket}");

    let ticket = ticket["ticket"].as_str().unwrap();

    // Refused requests must not use up the ticket.
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
fn a_response_is_replayed_only_for_the_same_rights() {
    let home = TestHome::new();
    let server = home.start_server();

    let strong = server.api(&session_token(&home, "bob", &["create", "attach"]));
    let weak = server.api(&session_token(&home, "bob", &[]));
    let (status, first) = strong.post_with_key("/sessions", &json!({}), "a");
    assert_eq!(status, 201, "{first}");
    assert_eq!(strong.post_with_key("/sessions", &json!({}), "a"), (201, first));

    let (status, body) = weak.post_with_key("/sessions", &json!({}), "a");
    assert_eq!(status, 422, "{body}");

    // Tickets are never replayed: each carries the rights of the token that requests it.
    let tickets: Vec<_> =
        [&strong, &strong, &weak].map(|api| api.post_with_key("/tickets", &json!({}), "b")).into();
    assert!(tickets.iter().all(|(status, _)| *status == 201), "{tickets:?}");
    assert!(tickets[0] != tickets[1] && tickets[0] != tickets[2], "{tickets:?}");
}

#[test]
fn the_owner_of_a_session_sees_no_administrators_address() {
    let home = TestHome::new();
    let server = home.start_server();

    let user = session_token(&home, "bob", &["create", "attach", "write"]);
    let mut bob = server.frame_client(&user, "laptop");
    let session = bob.attach_to_new_terminal();
    let mut admin = server.connect_as_admin();

    let attached = admin.request("attach", json!({ "session": session, "role": "viewer" }));
    assert_eq!(attached["type"], "attached", "{attached}");

    let path = format!("/sessions/{session}/connections");
    let seen_by = |token: &str| server.api(token).get(&path).1["connections"].clone();
    let (of_owner, of_admin) = (seen_by(&user), seen_by(server.admin_token()));
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
    let home = TestHome::new();
    let server = home.start_server();

    let bob = server.api(&session_token(&home, "bob", &["create", "attach", "write"]));
    let (status, ticket) = bob.post("/tickets", &json!({}));
    assert_eq!(status, 201, "{ticket}");

    let admin = server.admin_api();
    assert_eq!(admin.post("/revocations", &json!({ "user": "bob" })).0, 201);

    let path =
        format!("/ws/terminal/mine?create=true&ticket={}", ticket["ticket"].as_str().unwrap());
    assert_eq!(server.open_without_token(&path).err(), Some(401));

    let (status, list) = admin.get("/sessions?owner=bob");
    assert_eq!((status, &list["sessions"]), (200, &json!([])), "{list}");
}
