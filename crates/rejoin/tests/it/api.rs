//! The API of the binary: the base path, the limits of the configuration, and what a restart keeps.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Home, Server};

/// What `curl` gets: the status, and the body if there is one.
pub(crate) fn curl(
    home: &Home,
    server: &Server,
    arguments: &[&str],
    path: &str,
) -> (String, String) {
    let url = format!("{}{path}", server.url);
    let token = format!("Authorization: Bearer {}", server.login_token());
    let mut command = home.program("curl");
    command.args(["--silent", "--show-error", "--write-out", "\n%{http_code}"]);
    command.args(["--header", &token]).args(arguments).arg(url);
    let output = command.output().expect("curl is installed");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

fn post<'a>(body: &'a str, arguments: &mut Vec<&'a str>) {
    arguments.extend(["--header", "Content-Type: application/json", "--data", body]);
}

#[test]
fn all_is_below_the_configured_path() {
    let home = Home::new();
    home.write("rejoin.toml", "[server]\nbase_path = \"/rejoin\"\npublic_metrics = true\n");
    let server = home.serve();
    assert!(server.url.ends_with("/rejoin"), "{}", server.url);
    assert!(server.login.contains("/rejoin/#login="), "{}", server.login);
    let (status, me) = curl(&home, &server, &[], "/api/v1/me");
    assert_eq!((status.as_str(), &json(&me)["user_id"]), ("200", &"ann".into()));
    let mut client = server.log_in();
    assert_eq!(client.ask("ping", json!({}))["type"], "pong");
    assert_eq!(curl(&home, &server, &[], "/metrics").0, "200");
}

#[test]
fn the_configured_limits_are_those_of_the_server() {
    let home = Home::new();
    let limits = "[limits]\nmax_connections_per_user = 1\nmax_sessions_per_user = 1\n\
                  max_topics_per_user = 1\nmax_subscriptions = 1\nmessages_per_second = 3\n\
                  [profiles.terminal]\ncommand = [\"cat\"]\n";
    home.write("rejoin.toml", limits);
    let server = home.serve();
    let mut client = server.log_in();
    assert_eq!(client.ask("subscribe", json!({ "topic": "a" }))["type"], "ack");
    let second = client.ask("subscribe", json!({ "topic": "b" }));
    assert_eq!(second["payload"]["code"], "too_many_subscriptions");
    let refused = (0..10).map(|_| client.ask("ping", json!({})));
    assert!(refused.into_iter().any(|answer| answer["payload"]["code"] == "rate_limited"));
    assert_eq!(
        server.connect().ask("authenticate", json!({ "token": server.login_token() }))["payload"]["error"]
            ["code"],
        "connection_limit"
    );
    for (body, path, code) in [
        ("{}", "/api/v1/sessions", "too_many_sessions"),
        ("{\"topic\": \"c\", \"data\": 1}", "/api/v1/publish", "too_many_topics"),
    ] {
        let mut arguments = Vec::new();
        post(body, &mut arguments);
        let answers: Vec<_> = (0..2).map(|_| curl(&home, &server, &arguments, path)).collect();
        assert_eq!((answers[1].0.as_str(), &json(&answers[1].1)["code"]), ("429", &code.into()));
    }
}

#[test]
fn what_was_revoked_stays_so_after_a_restart() {
    let home = Home::new();
    let server = home.serve();
    let mut arguments = Vec::new();
    post("{\"user\": \"bob\"}", &mut arguments);
    assert_eq!(curl(&home, &server, &arguments, "/api/v1/revocations").0, "201");
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
    let server = home.serve();
    let (_, list) = curl(&home, &server, &[], "/api/v1/revocations");
    assert_eq!(json(&list)["revocations"][0]["user"], "bob");
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text:?}"))
}
