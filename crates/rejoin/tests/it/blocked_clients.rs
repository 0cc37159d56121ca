//! A client that never reads does not delay the removal of its connection.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{TestHome, TestServer, frame_client::FrameClient, wait_until};

/// Time limit for the removal after the decision to close. The server promises one second.
const REMOVAL: Duration = Duration::from_secs(3);

/// Time limit for the decision to close.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A server whose only connection belongs to the user `bob`.
struct Fixture {
    server: TestServer,
    home: TestHome,
    token: String,
    client: FrameClient,
    /// The topic that fills the client's socket.
    topic: &'static str,
    /// A connection that the server accepts only after the removal.
    newcomer: Option<FrameClient>,
}

impl Fixture {
    /// Starts a server with additional keys in `[limits]`.
    fn new(limits: &str, topic: &'static str) -> Self {
        let home = TestHome::new();
        // No delays: tokens expire on time, and presence forgets a member at once.
        home.write(
            "rejoin.toml",
            &format!(
                "[auth]\nleeway = \"0s\"\n[limits]\nmax_connections = 1\npresence_grace = \"0s\"\n\
                 connections_per_ip = {{ count = 0 }}\n{limits}\n\
                 [topics.strict]\nslow_reader = \"disconnect\"\nretain = {{ frames = 8 }}\n"
            ),
        );
        let server = home.start_server();
        let token = home.token("bob", "1h");
        let client = server.frame_client(&token, "laptop");
        Self { server, home, token, client, topic, newcomer: None }
    }

    /// Starts a server and fills the socket of its client.
    fn blocked(limits: &str) -> Self {
        let mut fixture = Self::new(limits, "flood");
        fixture.block();
        fixture
    }

    fn block(&mut self) {
        self.client.block(&self.server, self.topic);
    }

    /// Checks that the connection is removed everywhere in time.
    fn assert_removed(&mut self) {
        let deadline = Instant::now() + REMOVAL;
        let mut remaining = self.remaining();
        while !remaining.is_empty() {
            assert!(
                Instant::now() < deadline,
                "not removed within {REMOVAL:?} from: {remaining:?}"
            );
            remaining = self.remaining();
        }
    }

    /// Returns the places that still count the connection.
    fn remaining(&mut self) -> Vec<&'static str> {
        let admin = self.server.admin_api();
        let listed = admin.connections().contains(&self.client.id);
        let present = |path: &str| {
            let (status, state) = admin.get(path);
            assert_eq!(status, 200, "{state}");
            state["connections"] != 0
        };
        // `max_connections` is 1: another client gets in only after the removal.
        if self.newcomer.is_none() {
            self.newcomer =
                self.server.try_frame_client(self.server.admin_token(), "newcomer").ok();
        }

        [
            (listed, "list"),
            (present("/users/bob/presence"), "presence of the user"),
            (present(&format!("/topics/{}/presence", self.topic)), "presence in the topic"),
            (self.newcomer.is_none(), "limits.max_connections"),
        ]
        .into_iter()
        .filter_map(|(remains, name)| remains.then_some(name))
        .collect()
    }
}

#[test]
fn a_blocked_connection_is_removed_after_missed_heartbeats() {
    let mut fixture = Fixture::blocked("heartbeat = \"1s\"");
    let admin = fixture.server.admin_api();

    wait_until(TIMEOUT, "the heartbeats are missed", || {
        admin.metric("rejoin_heartbeats_missed_total") == 1
    });
    fixture.assert_removed();
}

#[test]
fn an_administrator_removes_a_blocked_connection() {
    let mut fixture = Fixture::blocked("");

    let path = format!("/connections/{}", fixture.client.id);
    assert_eq!(fixture.server.admin_api().delete(&path), 204);

    fixture.assert_removed();
}

#[test]
fn a_user_removes_a_blocked_connection_of_their_own() {
    let mut fixture = Fixture::blocked("");

    let path = format!("/connections/{}", fixture.client.id);
    assert_eq!(fixture.server.api(&fixture.token).delete(&path), 204);

    fixture.assert_removed();
}

#[test]
fn a_blocked_connection_is_removed_when_its_device_is_disconnected() {
    let mut fixture = Fixture::blocked("");

    let device = json!({ "device": "laptop" });
    let (status, body) = fixture.server.api(&fixture.token).post("/users/bob/disconnect", &device);
    assert_eq!((status, &body["disconnected"]), (200, &json!(1)));

    fixture.assert_removed();
}

#[test]
fn a_blocked_connection_is_removed_after_its_revocation() {
    let mut fixture = Fixture::blocked("");

    let (status, body) = fixture.server.admin_api().post("/revocations", &json!({ "user": "bob" }));
    assert_eq!(status, 201, "{body}");

    fixture.assert_removed();
}

#[test]
fn a_blocked_connection_is_removed_when_its_token_expires() {
    let mut fixture = Fixture::new("", "flood");
    let token = fixture.home.token("bob", "2s");

    let result = fixture.client.request("refresh", json!({ "token": token }));
    assert_eq!(result["type"], "auth_result", "{result}");

    fixture.block();
    let api = fixture.server.api(&token);
    wait_until(TIMEOUT, "the token expires", || api.get("/me").0 == 401);
    fixture.assert_removed();
}

#[test]
fn a_blocked_subscriber_of_a_strict_topic_is_removed() {
    let mut fixture = Fixture::new("", "strict");
    // The topic retains a third of this flood.
    fixture.block();
    fixture.assert_removed();
}
