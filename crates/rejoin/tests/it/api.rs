//! The HTTP API of the binary: its base path, its limits and its revocations.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{TestHome, api_client::curl};

/// Returns the arguments of `curl` for a POST request.
fn post(body: &str) -> [&str; 4] {
    ["--header", "Content-Type: application/json", "--data", body]
}

#[test]
fn everything_is_served_below_the_base_path() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[server]\nbase_path = \"/rejoin\"\npublic_metrics = true\n");
    let server = home.start_server();

    assert!(server.url.ends_with("/rejoin"), "{}", server.url);
    assert!(server.login_line.contains("/rejoin/#login="), "{}", server.login_line);

    let (status, me) = curl(&home, &server, &[], "/api/v1/me");
    assert_eq!((status.as_str(), &json(&me)["user_id"]), ("200", &"ann".into()));

    let mut client = server.connect_as_admin();
    assert_eq!(client.request("ping", json!({}))["type"], "pong");
    assert_eq!(curl(&home, &server, &[], "/metrics").0, "200");
}

#[test]
fn configured_limits_are_enforced() {
    let home = TestHome::new();
    let limits = "[limits]\nmax_connections_per_user = 1\nmax_sessions_per_user = 1\n\
                  max_topics_per_user = 1\nmax_subscriptions = 1\nmessages_per_second = 3\n\
                  [profiles.terminal]\ncommand = [\"cat\"]\n";
    home.write("rejoin.toml", limits);
    let server = home.start_server();

    // Each step reaches one limit. The connection of `client` stays open for the next ones.
    let mut client = server.connect_as_admin();
    assert_eq!(client.request("subscribe", json!({ "topic": "a" }))["type"], "ack");

    let second = client.request("subscribe", json!({ "topic": "b" }));
    assert_eq!(second["payload"]["code"], "too_many_subscriptions");

    let mut replies = (0..10).map(|_| client.request("ping", json!({})));
    assert!(replies.any(|reply| reply["payload"]["code"] == "rate_limited"));

    let authenticate = json!({ "token": server.admin_token() });
    let result = server.connect().request("authenticate", authenticate);
    assert_eq!(result["payload"]["error"]["code"], "connection_limit");

    for (body, path, code) in [
        ("{}", "/api/v1/sessions", "too_many_sessions"),
        ("{\"topic\": \"c\", \"data\": 1}", "/api/v1/publish", "too_many_topics"),
    ] {
        let responses: Vec<_> = (0..2).map(|_| curl(&home, &server, &post(body), path)).collect();
        let (status, problem) = &responses[1];
        assert_eq!((status.as_str(), &json(problem)["code"]), ("429", &code.into()));
    }
}

#[test]
fn revocations_survive_a_restart() {
    let home = TestHome::new();
    let server = home.start_server();

    let revoke = post("{\"user\": \"bob\"}");
    assert_eq!(curl(&home, &server, &revoke, "/api/v1/revocations").0, "201");
    assert_eq!(server.stop(Signal::TERM).0, Some(0));

    let server = home.start_server();

    let (_, list) = curl(&home, &server, &[], "/api/v1/revocations");
    assert_eq!(json(&list)["revocations"][0]["user"], "bob");
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("not JSON: {text:?}"))
}
