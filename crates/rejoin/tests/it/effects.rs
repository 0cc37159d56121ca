//! A connection that the server closes executes nothing more, whatever its client sends.

use std::{
    io::{Read, Write},
    net::TcpListener,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    Home, Server,
    hostile::{Hostile, binary, broken_input, message},
    until,
};

/// Limit for a decision of the server, and for a program.
const PATIENCE: Duration = Duration::from_secs(10);

const WEBHOOK_SECRET: &str = "whsec_dGhpcnR5LXR3byBieXRlcyB0aGF0IGFyZSByYW5kb20=";

/// A position of another epoch: all that the topic keeps follows.
const STALE: &str = "0.0";

/// Why the server closes the connections of the user `bob`.
#[derive(Clone, Copy, PartialEq)]
enum Reason {
    Revocation,
    Expiry,
    Disconnect,
    Heartbeat,
}

/// The state of the socket when the client sends more.
#[derive(Clone, Copy, PartialEq)]
enum Peer {
    /// The client reads nothing and closes nothing.
    Open,
    /// The client's receive window is full.
    Blocked,
    /// The server has shut its side down; the client does the same behind its messages.
    HalfClosed,
}

/// Three connections of the user `bob`, each attached to a terminal of its own.
struct Fixture {
    server: Server,
    home: Home,
    clients: Vec<Hostile>,
    sessions: Vec<String>,
}

impl Fixture {
    /// Starts the server with more sections of its configuration.
    fn new(sections: &str) -> Self {
        let home = Home::new();
        home.write("hook", WEBHOOK_SECRET);
        home.write(
            "rejoin.toml",
            &format!(
                "[auth]\nleeway = \"0s\"\n[profiles.terminal]\ncommand = [\"sh\"]\n\
                 [topics.effects]\nretain = {{ frames = 1000 }}\n{sections}"
            ),
        );
        let server = home.serve();
        let token = home.token("bob", "1h");
        let mut clients: Vec<_> = (0..3).map(|_| server.hostile(&token, "laptop")).collect();
        let sessions = clients.iter_mut().map(Hostile::attach_to_new_terminal).collect();
        Self { server, home, clients, sessions }
    }

    /// Replaces each connection's token with one that ends in two seconds; returns it.
    fn refresh(&mut self) -> String {
        let token = self.home.token("bob", "2s");
        for client in &mut self.clients {
            let result = client.ask("refresh", json!({ "token": token }));
            assert_eq!(result["type"], "auth_result", "{result}");
        }
        token
    }

    /// Fills the sockets with unread messages.
    fn block(&mut self) {
        for client in &mut self.clients {
            let answer = client.ask("subscribe", json!({ "topic": "flood" }));
            assert_eq!(answer["type"], "ack", "{answer}");
        }
        self.server.admin().flood("flood");
    }

    /// Makes the server close the connections, and returns after its decision.
    fn close(&self, reason: Reason, token: &str) {
        let admin = self.server.admin();
        match reason {
            Reason::Revocation => {
                let (status, answer) = admin.post("/revocations", &json!({ "user": "bob" }));
                assert_eq!(status, 201, "{answer}");
            }
            Reason::Expiry => {
                let api = self.server.api(token);
                until(PATIENCE, "the token expires", || api.get("/me").0 == 401);
            }
            Reason::Disconnect => {
                let (status, answer) = admin.post("/users/bob/disconnect", &json!({}));
                assert_eq!((status, &answer["disconnected"]), (200, &json!(3)));
            }
            Reason::Heartbeat => until(PATIENCE, "three heartbeats are missed", || {
                admin.metric("rejoin_heartbeats_missed_total") == 3
            }),
        }
    }

    /// Sends the messages of each client in one burst behind this frame.
    ///
    /// Each message is the first in one of the bursts.
    fn send_forbidden_messages(&self, first_frame: &[u8]) {
        for (index, client) in self.clients.iter().enumerate() {
            let session = &self.sessions[index];
            let mut burst = [
                message("input", json!({ "session": session, "data": "touch forbidden\r" })),
                message("publish", json!({ "topic": "effects", "data": "forbidden" })),
                message("create_session", json!({ "kind": "terminal", "name": "forbidden" })),
            ];
            burst.rotate_left(index);
            client.send(&[first_frame.to_vec(), burst.concat()]);
        }
    }

    /// Returns which of the forbidden messages were executed, once the server reads no more.
    fn effects(&self) -> Vec<&'static str> {
        self.clients.iter().for_each(Hostile::until_released);
        let mut healthy = self.server.log_in();

        for (index, session) in self.sessions.iter().enumerate() {
            let attached = healthy.ask("attach", json!({ "session": session }));
            assert_eq!(attached["type"], "attached", "{attached}");
            let fence = format!("fence-{index}");
            let data = format!("touch {fence}\r");
            healthy.send("input", json!({ "session": session, "data": data }));
            let path = self.home.path(&fence);
            until(PATIENCE, "the terminal executes a later input", || path.exists());
            healthy.ask("detach", json!({ "session": session }));
        }
        let typed = self.home.path("forbidden").exists();

        healthy.ask("subscribe", json!({ "topic": "effects", "position": STALE }));
        healthy.send("publish", json!({ "topic": "effects", "data": "fence" }));
        let message = healthy.until(|message| message["type"] == "message");
        let published = message["payload"]["data"] == "forbidden";

        let (status, page) = self.server.admin().get("/sessions");
        assert_eq!(status, 200, "{page}");
        let sessions: &Vec<Value> = page["sessions"].as_array().unwrap();
        let created = sessions.iter().any(|session| session["name"] == "forbidden");

        [(typed, "input"), (published, "publish"), (created, "create_session")]
            .into_iter()
            .filter_map(|(executed, name)| executed.then_some(name))
            .collect()
    }
}

/// Panics if messages are executed that arrive after the decision to close.
fn executes_nothing_after(reason: Reason, peer: Peer) {
    let heartbeat = "[limits]\nheartbeat = \"1s\"\n";
    let mut fixture = Fixture::new(if reason == Reason::Heartbeat { heartbeat } else { "" });
    let token = if reason == Reason::Expiry { fixture.refresh() } else { String::new() };
    if peer == Peer::Blocked {
        fixture.block();
    }
    fixture.close(reason, &token);
    if peer == Peer::HalfClosed {
        fixture.clients.iter_mut().for_each(Hostile::read_to_end);
    }
    fixture.send_forbidden_messages(&[]);
    if peer == Peer::HalfClosed {
        fixture.clients.iter().for_each(Hostile::half_close);
    }
    assert_eq!(fixture.effects(), [""; 0], "executed after the decision to close");
}

#[test]
fn an_open_connection_executes_nothing_after_its_revocation() {
    executes_nothing_after(Reason::Revocation, Peer::Open);
}

#[test]
fn a_blocked_connection_executes_nothing_after_its_revocation() {
    executes_nothing_after(Reason::Revocation, Peer::Blocked);
}

#[test]
fn a_half_closed_connection_executes_nothing_after_its_revocation() {
    executes_nothing_after(Reason::Revocation, Peer::HalfClosed);
}

#[test]
fn an_open_connection_executes_nothing_after_its_token_expired() {
    executes_nothing_after(Reason::Expiry, Peer::Open);
}

#[test]
fn a_blocked_connection_executes_nothing_after_its_token_expired() {
    executes_nothing_after(Reason::Expiry, Peer::Blocked);
}

#[test]
fn a_half_closed_connection_executes_nothing_after_its_token_expired() {
    executes_nothing_after(Reason::Expiry, Peer::HalfClosed);
}

#[test]
fn an_open_connection_executes_nothing_after_a_disconnect() {
    executes_nothing_after(Reason::Disconnect, Peer::Open);
}

#[test]
fn a_blocked_connection_executes_nothing_after_a_disconnect() {
    executes_nothing_after(Reason::Disconnect, Peer::Blocked);
}

#[test]
fn a_half_closed_connection_executes_nothing_after_a_disconnect() {
    executes_nothing_after(Reason::Disconnect, Peer::HalfClosed);
}

#[test]
fn an_open_connection_executes_nothing_after_missed_heartbeats() {
    executes_nothing_after(Reason::Heartbeat, Peer::Open);
}

#[test]
fn a_blocked_connection_executes_nothing_after_missed_heartbeats() {
    executes_nothing_after(Reason::Heartbeat, Peer::Blocked);
}

#[test]
fn a_half_closed_connection_executes_nothing_after_missed_heartbeats() {
    executes_nothing_after(Reason::Heartbeat, Peer::HalfClosed);
}

#[test]
fn messages_behind_a_protocol_error_are_not_executed() {
    let fixture = Fixture::new("");
    fixture.send_forbidden_messages(&broken_input());
    assert_eq!(fixture.effects(), [""; 0], "executed behind a protocol error");
}

#[test]
fn messages_behind_a_slow_one_are_not_executed_after_a_revocation() {
    let program = TcpListener::bind("127.0.0.1:0").unwrap();
    program.set_nonblocking(true).unwrap();
    let fixture = Fixture::new(&format!(
        "[webhooks.messages.slow]\nurl = \"http://{}\"\nsecret_file = \"~/hook\"\n",
        program.local_addr().unwrap()
    ));
    fixture.send_forbidden_messages(&message("slow", json!({})));
    let mut requests = Vec::new();
    until(PATIENCE, "each connection waits for the program", || {
        requests.extend(program.accept());
        requests.len() == fixture.clients.len()
    });
    fixture.close(Reason::Revocation, "");
    for (mut request, _) in requests {
        request.set_nonblocking(false).unwrap();
        assert!(request.read(&mut [0; 4096]).unwrap() > 0);
        // The server may have cancelled the request.
        let _ = request.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    }
    assert_eq!(fixture.effects(), [""; 0], "executed after the decision to close");
}

#[test]
fn messages_behind_unread_replies_are_not_executed_after_a_revocation() {
    let mut fixture = Fixture::new("");
    fixture.block();
    let client = &fixture.clients[0];
    let publish = |number| message("publish", json!({ "topic": "effects", "data": number }));
    client.send(&(0..600).map(publish).collect::<Vec<_>>());
    // The server stops reading while too many replies are unread.
    let published = || fixture.server.admin().published("effects").len();
    let (mut count, mut repeated) = (0, 0);
    until(PATIENCE, "the server stops reading", || {
        let last = std::mem::replace(&mut count, published());
        repeated = if count > 0 && count == last { repeated + 1 } else { 0 };
        repeated == 100
    });
    assert!(count < 600, "all replies wait for a client that never reads");
    fixture.close(Reason::Revocation, "");
    client.half_close();
    client.until_released();
    assert_eq!(published(), count, "executed after the decision to close");
}

#[test]
fn a_plain_connection_types_nothing_after_its_revocation() {
    let fixture = Fixture::new("");
    let path = format!("/ws/session/{}", fixture.sessions[0]);
    let client = fixture.server.open(&path, &fixture.home.token("bob", "1h")).expect("an upgrade");
    let (status, answer) = fixture.server.admin().post("/revocations", &json!({ "user": "bob" }));
    assert_eq!(status, 201, "{answer}");
    client.send(&[binary(b"touch forbidden\r")]);
    client.until_released();
    assert_eq!(fixture.effects(), [""; 0], "executed after the decision to close");
}

#[test]
fn a_request_completed_after_its_revocation_publishes_nothing() {
    let home = Home::new();
    let server = home.serve();
    let api = server.api(&home.token("bob", "1h"));
    let body = json!({ "topic": "effects", "data": "forbidden" });
    let request = api.slow_post("/publish", &body);
    let (status, answer) = server.admin().post("/revocations", &json!({ "user": "bob" }));
    assert_eq!(status, 201, "{answer}");
    let (status, answer) = request.complete();
    server.admin().publish("effects", &json!("fence"));
    assert_eq!(server.admin().published("effects"), ["fence"], "{answer}");
    assert_eq!(status, 401, "{answer}");
    assert!(answer.contains("token_revoked"), "{answer}");
}
