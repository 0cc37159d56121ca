//! Tokens: their keys, their rights, and the places that must not contain them.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{TestHome, TestServer, browser::TestBrowser};

/// A public test key, and a token of the user `bob` signed with its private key.
const ISSUER: &str = include_str!("../../../rejoin-auth/tests/keys/ed25519.pub.pem");
const TOKEN_OF_ISSUER: &str = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJib2IiLCJleHAiOjQwMDAwMDAwMDB9._uzXF2Mc_1zZR0eKpb4Ck8l7CYAfQCYwhNCN4DFRt2OPk5a3N_AY5oVmQRC63Q_pmEVFUd3t2hqqoYYQAyO-Cw";

#[test]
fn the_first_start_prints_a_link_that_logs_in() {
    let home = TestHome::new();
    let server = home.start_server();

    assert!(server.url.starts_with("http://127.0.0.1:"), "{}", server.url);
    assert!(server.login_line.starts_with(&format!("Log in: {}/#login=", server.url)));

    let mut browser = TestBrowser::new(&server);
    assert_eq!(browser.log_in(&json!({ "code": server.login_code() })), 204);

    let (_, me) = browser.get("/api/v1/me");
    assert_eq!((&me["user_id"], &me["admin"]), (&"ann".into(), &true.into()));
}

#[test]
fn log_ins_of_one_address_are_limited() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[limits]\nconnections_per_ip = { count = 2 }\n");
    let server = home.start_server();

    let mut browser = TestBrowser::new(&server);
    let wrong = json!({ "code": "wrong" });
    let refusals = (0..4).map(|_| browser.log_in(&wrong));
    assert_eq!(refusals.collect::<Vec<_>>(), [401, 401, 429, 429]);

    let name = "rejoin_rate_limited_total{what=\"logins\"}";
    assert_eq!(server.admin_api().metric(name), 2);
    // The limit of new WebSockets is another one.
    assert_eq!(server.connect_as_admin().request("ping", json!({}))["type"], "pong");
}

#[test]
fn the_secret_is_private_and_survives_a_restart() {
    let home = TestHome::new();
    let server = home.start_server();
    let token = server.admin_token().to_owned();

    server.stop(Signal::TERM);
    let secret = fs::read(home.data_path("secret")).unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(home.data_path("secret")), 0o600);
    assert_eq!(mode(home.data_path("secret").parent().unwrap().into()), 0o700);

    let files = fs::read_dir(home.data_path("secret").parent().unwrap()).unwrap();
    let names: Vec<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    // The secret is written under another name first.
    let drafts = names.iter().filter(|name| name.starts_with("secret."));
    assert_eq!(drafts.count(), 0, "a draft is left: {names:?}");

    let server = home.start_server();

    assert_eq!(fs::read(home.data_path("secret")).unwrap(), secret);

    let result = server.connect().request("authenticate", json!({ "token": token }));
    assert_eq!(result["payload"]["authenticated"], true);
}

#[test]
fn only_the_issuer_signs_tokens_with_a_public_key() {
    let home = TestHome::new();
    home.write("issuer.pem", ISSUER);
    home.write("rejoin.toml", "[auth]\npublic_key_file = \"~/issuer.pem\"\n");
    let server = home.start_server();

    let expected = format!("Log in: {}/#login=TOKEN with a token of the issuer", server.url);
    assert_eq!(server.login_line, expected);

    let mut client = server.connect();
    let result = client.request("authenticate", json!({ "token": TOKEN_OF_ISSUER }));
    assert_eq!(result["payload"]["user_id"], "bob", "{result}");
    // A terminal runs as the server's user: the issuer cannot grant it by default.
    assert_eq!(client.create_session("terminal")["payload"]["code"], "forbidden");

    let reason = "`auth.public_key_file` is set, so only the issuer signs tokens; \
                  get a token from the issuer";
    let expected = format!("cannot sign a token: {reason}");
    assert_eq!(home.error_of(&["token", "--user", "ann"]), expected);

    let error = home.error_of(&["publish", "news", "1", "--url", &server.url]);
    let expected = format!("no --token is given, and this command cannot sign one: {reason}");
    assert_eq!(error, expected);
    assert!(!home.data_path("secret").exists(), "an unused secret must not be created");
}

#[test]
fn a_private_key_as_the_public_key_is_refused() {
    let home = TestHome::new();
    home.write("issuer.pem", &ISSUER.replace("PUBLIC", "PRIVATE"));
    home.write("rejoin.toml", "[auth]\npublic_key_file = \"~/issuer.pem\"\n");

    let error = home.error_of(&["serve", "--listen", "127.0.0.1:0"]);
    let path = home.path("issuer.pem").display().to_string();
    assert!(error.contains(&path) && error.contains("private key"), "{error}");
}

#[test]
fn a_token_of_another_server_is_refused() {
    let (one, other) = (TestHome::new(), TestHome::new());
    let (server, other_server) = (one.start_server(), other.start_server());
    let token = other_server.admin_token();

    let result = server.connect().request("authenticate", json!({ "token": token }));
    assert_eq!(result["payload"]["error"]["code"], "authentication_failed");

    let error = one.error_of(&["publish", "news", "1", "--url", &server.url, "--token", token]);
    assert!(error.contains("signature"), "{error}");
}

#[test]
fn a_token_has_the_user_and_rights_of_its_command() {
    let home = TestHome::new();
    let server = home.start_server();
    home.write("caps.json", r#"{"topics":{"news.*":["publish"]}}"#);
    let token = home.output_of(&["token", "--user", "bob", "--caps", "caps.json"]);

    let mut client = server.connect();
    let result = client.request("authenticate", json!({ "token": token.trim_end() }));
    assert_eq!(result["payload"]["user_id"], "bob");

    let publish = |topic| json!({ "topic": topic, "data": 1 });
    assert_eq!(client.request("publish", publish("news.a"))["type"], "ack");
    assert_eq!(client.request("publish", publish("other"))["payload"]["code"], "forbidden");
    assert_eq!(client.create_session("terminal")["payload"]["code"], "forbidden");
}

#[test]
fn no_token_reaches_the_log() {
    let home = TestHome::new();
    let mut command = home.rejoin(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("REJOIN_LOG", "trace");
    let server = TestServer::start(&home, command);

    let good = server.admin_token().to_owned();
    let expired = home.output_of(&["token", "--user", "ann", "--ttl", "0s"]);
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    server.connect_as_admin();
    for invalid in [&forged, "header.invented-payload.invented-signature"] {
        let result = server.connect().request("authenticate", json!({ "token": invalid }));
        assert_eq!(result["payload"]["error"]["code"], "authentication_failed");
    }
    for token in [&good, &forged] {
        let address = server.url.strip_prefix("http://").unwrap();
        let mut socket = TcpStream::connect(address).unwrap();
        let request = format!(
            "GET /api/v1/sessions?ticket={token} HTTP/1.1\r\nHost: {address}\r\n\
             Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        socket.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 "), "{response}");
    }

    let (_, log) = server.stop(Signal::TERM);
    assert!(log.contains("connected") && log.contains("a token was refused"), "{log}");

    for token in [&*good, expired.trim_end(), &forged, "header.invented-payload.invented-signature"]
    {
        // The header of a token only names the algorithm.
        for part in token.split('.').skip(1) {
            assert!(!log.contains(part), "{part} in the log");
        }
    }
    assert!(!log.contains(fs::read_to_string(home.data_path("secret")).unwrap().trim()));
}
