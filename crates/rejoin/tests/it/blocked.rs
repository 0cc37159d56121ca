//! A client that never reads does not delay the end of its connection.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Home, Server, hostile::Hostile, until};

/// Limit for the removal after the decision to close. The promise is one second.
const REMOVAL: Duration = Duration::from_secs(3);

/// Limit for a decision of the server.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server whose only connection belongs to the user `bob`.
struct Fixture {
    server: Server,
    home: Home,
    token: String,
    client: Hostile,
    /// The topic that fills the client's socket.
    topic: &'static str,
    /// The next connection, once the server accepts it.
    newcomer: Option<Hostile>,
}

impl Fixture {
    /// Starts a server with more keys in `[limits]`.
    fn new(limits: &str, topic: &'static str) -> Self {
        let home = Home::new();
        home.write(
            "rejoin.toml",
            &format!(
                "[auth]\nleeway = \"0s\"\n[limits]\nmax_connections = 1\npresence_grace = \"0s\"\n\
                 connections_per_ip = {{ count = 0 }}\n{limits}\n\
                 [topics.strict]\nslow_reader = \"disconnect\"\nretain = {{ frames = 8 }}\n"
            ),
        );
        let server = home.serve();
        let token = home.token("bob", "1h");
        let client = server.hostile(&token, "laptop");
        Self { server, home, token, client, topic, newcomer: None }
    }

    fn blocked(limits: &str) -> Self {
        let mut fixture = Self::new(limits, "flood");
        fixture.block();
        fixture
    }

    fn block(&mut self) {
        self.client.block(&self.server, self.topic);
    }

    /// Panics unless the connection is removed everywhere in time.
    fn assert_removed(&mut self) {
        let deadline = Instant::now() + REMOVAL;
        let mut remaining = self.remaining();
        while !remaining.is_empty() {
            assert!(Instant::now() < deadline, "after {REMOVAL:?} still in: {remaining:?}");
            remaining = self.remaining();
        }
    }

    /// Returns what still counts the connection.
    fn remaining(&mut self) -> Vec<&'static str> {
        let admin = self.server.admin();
        let listed = admin.connections().contains(&self.client.id);
        let present = |path: &str| {
            let (status, state) = admin.get(path);
            assert_eq!(status, 200, "{state}");
            state["connections"] != 0
        };
        if self.newcomer.is_none() {
            self.newcomer = self.server.upgrade(self.server.login_token(), "newcomer").ok();
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
    let admin = fixture.server.admin();
    until(PATIENCE, "the heartbeats are missed", || {
        admin.metric("rejoin_heartbeats_missed_total") == 1
    });
    fixture.assert_removed();
}

#[test]
fn a_blocked_connection_is_removed_when_an_administrator_disconnects_it() {
    let mut fixture = Fixture::blocked("");
    let path = format!("/connections/{}", fixture.client.id);
    assert_eq!(fixture.server.admin().delete(&path), 204);
    fixture.assert_removed();
}

#[test]
fn a_blocked_connection_is_removed_when_its_user_disconnects_it() {
    let mut fixture = Fixture::blocked("");
    let path = format!("/connections/{}", fixture.client.id);
    assert_eq!(fixture.server.api(&fixture.token).delete(&path), 204);
    fixture.assert_removed();
}

#[test]
fn a_blocked_connection_is_removed_when_its_device_is_disconnected() {
    let mut fixture = Fixture::blocked("");
    let device = json!({ "device": "laptop" });
    let (status, answer) =
        fixture.server.api(&fixture.token).post("/users/bob/disconnect", &device);
    assert_eq!((status, &answer["disconnected"]), (200, &json!(1)));
    fixture.assert_removed();
}

#[test]
fn a_blocked_connection_is_removed_after_its_revocation() {
    let mut fixture = Fixture::blocked("");
    let (status, answer) = fixture.server.admin().post("/revocations", &json!({ "user": "bob" }));
    assert_eq!(status, 201, "{answer}");
    fixture.assert_removed();
}

#[test]
fn a_blocked_connection_is_removed_when_its_token_expires() {
    let mut fixture = Fixture::new("", "flood");
    let token = fixture.home.token("bob", "2s");
    let result = fixture.client.ask("refresh", json!({ "token": token }));
    assert_eq!(result["type"], "auth_result", "{result}");
    fixture.block();
    let api = fixture.server.api(&token);
    until(PATIENCE, "the token expires", || api.get("/me").0 == 401);
    fixture.assert_removed();
}

#[test]
fn a_blocked_subscriber_of_a_strict_topic_is_removed() {
    let mut fixture = Fixture::new("", "strict");
    // The topic keeps a third of this flood.
    fixture.block();
    fixture.assert_removed();
}
