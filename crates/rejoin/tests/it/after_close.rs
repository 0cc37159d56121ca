//! A closed connection executes none of the messages that its client still sends.

use std::{
    io::{Read, Write},
    net::TcpListener,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    STALE_POSITION, TestHome, TestServer, WEBHOOK_SECRET,
    frame_client::{FrameClient, binary, invalid_input, message},
    wait_until,
};

/// Time limit for the server and for programs in terminals.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The reason for which the server closes the connections of the user `bob`.
#[derive(Clone, Copy, PartialEq)]
enum Reason {
    Revocation,
    Expiry,
    Disconnect,
    Heartbeat,
}

/// The state of the socket when the client sends the forbidden messages.
#[derive(Clone, Copy, PartialEq)]
enum Peer {
    /// The client reads nothing and closes nothing.
    Open,
    /// The client's receive buffer is full.
    Blocked,
    /// The server has shut down its side. The client shuts down its side after its messages.
    HalfClosed,
}

/// A server with three connections of the user `bob`, each attached to its own terminal.
struct Fixture {
    server: TestServer,
    home: TestHome,
    clients: Vec<FrameClient>,
    sessions: Vec<String>,
}

impl Fixture {
    /// Starts the server with additional sections in its configuration.
    fn new(sections: &str) -> Self {
        let home = TestHome::new();
        // Without leeway tokens expire on time. The topic retains all that a test publishes.
        home.write("hook", WEBHOOK_SECRET);
        home.write(
            "rejoin.toml",
            &format!(
                "[auth]\nleeway = \"0s\"\n[profiles.terminal]\ncommand = [\"sh\"]\n\
                 [topics.effects]\nretain = {{ frames = 1000 }}\n{sections}"
            ),
        );

        let server = home.start_server();
        let token = home.token("bob", "1h");
        let mut clients: Vec<_> = (0..3).map(|_| server.frame_client(&token, "laptop")).collect();
        let sessions = clients.iter_mut().map(FrameClient::attach_to_new_terminal).collect();
        Self { server, home, clients, sessions }
    }

    /// Replaces the token of each connection by one that expires in two seconds. Returns it.
    fn refresh_with_short_token(&mut self) -> String {
        let token = self.home.token("bob", "2s");
        for client in &mut self.clients {
            let result = client.request("refresh", json!({ "token": token }));
            assert_eq!(result["type"], "auth_result", "{result}");
        }
        token
    }

    /// Fills the sockets with unread messages.
    fn block(&mut self) {
        for client in &mut self.clients {
            let reply = client.request("subscribe", json!({ "topic": "flood" }));
            assert_eq!(reply["type"], "ack", "{reply}");
        }
        self.server.admin_api().flood("flood");
    }

    /// Makes the server close the connections. Returns after the decision, before the close.
    fn close(&self, reason: Reason, token: &str) {
        let admin = self.server.admin_api();
        match reason {
            Reason::Revocation => {
                let (status, body) = admin.post("/revocations", &json!({ "user": "bob" }));
                assert_eq!(status, 201, "{body}");
            }
            Reason::Expiry => {
                let api = self.server.api(token);
                wait_until(TIMEOUT, "the token expires", || api.get("/me").0 == 401);
            }
            Reason::Disconnect => {
                let (status, body) = admin.post("/users/bob/disconnect", &json!({}));
                assert_eq!((status, &body["disconnected"]), (200, &json!(3)));
            }
            Reason::Heartbeat => wait_until(TIMEOUT, "three heartbeats are missed", || {
                admin.metric("rejoin_heartbeats_missed_total") == 3
            }),
        }
    }

    /// Sends the forbidden messages from each client, in one write behind `first_frame`.
    ///
    /// Each message comes first for one of the clients: a defect may execute the first only.
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

    /// Waits until the server has closed the sockets. Returns the forbidden messages that it
    /// executed.
    fn executed_messages(&self) -> Vec<&'static str> {
        self.clients.iter().for_each(FrameClient::wait_until_released);
        let mut observer = self.server.connect_as_admin();

        for (index, session) in self.sessions.iter().enumerate() {
            let attached = observer.request("attach", json!({ "session": session }));
            assert_eq!(attached["type"], "attached", "{attached}");

            // A later input fences the terminal: forbidden input would have been executed before.
            let fence = format!("fence-{index}");
            let data = format!("touch {fence}\r");
            observer.send("input", json!({ "session": session, "data": data }));
            let path = self.home.path(&fence);
            wait_until(TIMEOUT, "the terminal executes the fence", || path.exists());
            observer.request("detach", json!({ "session": session }));
        }
        let typed = self.home.path("forbidden").exists();

        observer.request("subscribe", json!({ "topic": "effects", "position": STALE_POSITION }));
        observer.send("publish", json!({ "topic": "effects", "data": "fence" }));
        let message = observer.wait_for(|message| message["type"] == "message");
        let published = message["payload"]["data"] == "forbidden";

        let (status, page) = self.server.admin_api().get("/sessions");
        assert_eq!(status, 200, "{page}");
        let sessions: &Vec<Value> = page["sessions"].as_array().unwrap();
        let created = sessions.iter().any(|session| session["name"] == "forbidden");

        [(typed, "input"), (published, "publish"), (created, "create_session")]
            .into_iter()
            .filter_map(|(executed, name)| executed.then_some(name))
            .collect()
    }
}

/// Checks that messages which arrive after the decision to close are not executed.
fn assert_nothing_executed_after(reason: Reason, peer: Peer) {
    let heartbeat = "[limits]\nheartbeat = \"1s\"\n";
    let mut fixture = Fixture::new(if reason == Reason::Heartbeat { heartbeat } else { "" });
    let token =
        if reason == Reason::Expiry { fixture.refresh_with_short_token() } else { String::new() };

    if peer == Peer::Blocked {
        fixture.block();
    }
    fixture.close(reason, &token);

    if peer == Peer::HalfClosed {
        fixture.clients.iter_mut().for_each(FrameClient::read_to_end);
    }
    fixture.send_forbidden_messages(&[]);
    if peer == Peer::HalfClosed {
        fixture.clients.iter().for_each(FrameClient::half_close);
    }

    assert_eq!(fixture.executed_messages(), [""; 0], "executed after the decision to close");
}

#[test]
fn an_open_connection_executes_nothing_after_its_revocation() {
    assert_nothing_executed_after(Reason::Revocation, Peer::Open);
}

#[test]
fn a_blocked_connection_executes_nothing_after_its_revocation() {
    assert_nothing_executed_after(Reason::Revocation, Peer::Blocked);
}

#[test]
fn a_half_closed_connection_executes_nothing_after_its_revocation() {
    assert_nothing_executed_after(Reason::Revocation, Peer::HalfClosed);
}

#[test]
fn an_open_connection_executes_nothing_after_its_token_expired() {
    assert_nothing_executed_after(Reason::Expiry, Peer::Open);
}

#[test]
fn a_blocked_connection_executes_nothing_after_its_token_expired() {
    assert_nothing_executed_after(Reason::Expiry, Peer::Blocked);
}

#[test]
fn a_half_closed_connection_executes_nothing_after_its_token_expired() {
    assert_nothing_executed_after(Reason::Expiry, Peer::HalfClosed);
}

#[test]
fn an_open_connection_executes_nothing_after_a_disconnect() {
    assert_nothing_executed_after(Reason::Disconnect, Peer::Open);
}

#[test]
fn a_blocked_connection_executes_nothing_after_a_disconnect() {
    assert_nothing_executed_after(Reason::Disconnect, Peer::Blocked);
}

#[test]
fn a_half_closed_connection_executes_nothing_after_a_disconnect() {
    assert_nothing_executed_after(Reason::Disconnect, Peer::HalfClosed);
}

#[test]
fn an_open_connection_executes_nothing_after_missed_heartbeats() {
    assert_nothing_executed_after(Reason::Heartbeat, Peer::Open);
}

#[test]
fn a_blocked_connection_executes_nothing_after_missed_heartbeats() {
    assert_nothing_executed_after(Reason::Heartbeat, Peer::Blocked);
}

#[test]
fn a_half_closed_connection_executes_nothing_after_missed_heartbeats() {
    assert_nothing_executed_after(Reason::Heartbeat, Peer::HalfClosed);
}

#[test]
fn messages_behind_a_protocol_error_are_not_executed() {
    let fixture = Fixture::new("");
    fixture.send_forbidden_messages(&invalid_input());
    assert_eq!(fixture.executed_messages(), [""; 0], "executed behind a protocol error");
}

#[test]
fn messages_behind_a_slow_one_are_dropped_after_a_revocation() {
    let program = TcpListener::bind("127.0.0.1:0").unwrap();
    program.set_nonblocking(true).unwrap();
    let fixture = Fixture::new(&format!(
        "[webhooks.messages.slow]\nurl = \"http://{}\"\nsecret_file = \"~/hook\"\n",
        program.local_addr().unwrap()
    ));

    fixture.send_forbidden_messages(&message("slow", json!({})));
    let mut requests = Vec::new();
    wait_until(TIMEOUT, "each connection waits for the program", || {
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
    assert_eq!(fixture.executed_messages(), [""; 0], "executed after the decision to close");
}

#[test]
fn messages_behind_unread_replies_are_dropped_after_a_revocation() {
    let mut fixture = Fixture::new("");
    fixture.block();
    let client = &fixture.clients[0];
    let publish = |number| message("publish", json!({ "topic": "effects", "data": number }));

    // The server stops reading while too many replies are unread: the count of messages stays.
    client.send(&(0..600).map(publish).collect::<Vec<_>>());
    let published = || fixture.server.admin_api().published("effects").len();
    let (mut count, mut repeated) = (0, 0);
    wait_until(TIMEOUT, "the server stops reading", || {
        let last = std::mem::replace(&mut count, published());
        repeated = if count > 0 && count == last { repeated + 1 } else { 0 };
        repeated == 100
    });
    assert!(count < 600, "the server never stopped reading");

    fixture.close(Reason::Revocation, "");
    client.half_close();
    client.wait_until_released();
    assert_eq!(published(), count, "executed after the decision to close");
}

#[test]
fn a_raw_connection_types_nothing_after_its_revocation() {
    let fixture = Fixture::new("");

    let path = format!("/ws/session/{}", fixture.sessions[0]);
    let client =
        fixture.server.open_socket(&path, &fixture.home.token("bob", "1h")).expect("an upgrade");
    let (status, body) = fixture.server.admin_api().post("/revocations", &json!({ "user": "bob" }));
    assert_eq!(status, 201, "{body}");

    client.send(&[binary(b"touch forbidden\r")]);
    client.wait_until_released();
    assert_eq!(fixture.executed_messages(), [""; 0], "executed after the decision to close");
}

#[test]
fn a_request_completed_after_its_revocation_publishes_nothing() {
    let home = TestHome::new();
    let server = home.start_server();

    let api = server.api(&home.token("bob", "1h"));
    let body = json!({ "topic": "effects", "data": "forbidden" });
    let request = api.partial_post("/publish", &body);
    let (status, revoked) = server.admin_api().post("/revocations", &json!({ "user": "bob" }));
    assert_eq!(status, 201, "{revoked}");

    let (status, response) = request.complete();
    server.admin_api().publish("effects", &json!("fence"));
    assert_eq!(server.admin_api().published("effects"), ["fence"], "{response}");
    assert_eq!(status, 401, "{response}");
    assert!(response.contains("token_revoked"), "{response}");
}
