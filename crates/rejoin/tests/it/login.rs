//! Who may log in, and where tokens never appear.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    browsers::Browser,
    support::{Home, Server},
};

/// A key that is known to everybody, and a token for `bob` that it has signed.
const ISSUER: &str = include_str!("../../../rejoin-auth/tests/keys/ed25519.pub.pem");
const TOKEN_OF_ISSUER: &str = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJib2IiLCJleHAiOjQwMDAwMDAwMDB9._uzXF2Mc_1zZR0eKpb4Ck8l7CYAfQCYwhNCN4DFRt2OPk5a3N_AY5oVmQRC63Q_pmEVFUd3t2hqqoYYQAyO-Cw";

#[test]
fn the_first_start_prints_a_link_that_logs_in() {
    let home = Home::new();
    let server = home.serve();
    assert!(server.url.starts_with("http://127.0.0.1:"), "{}", server.url);
    assert!(server.login.starts_with(&format!("Log in: {}/#login=", server.url)));
    let mut browser = Browser::new(&server);
    assert_eq!(browser.log_in(&json!({ "code": server.login_code() })), 204);
    let (_, me) = browser.get("/api/v1/me");
    assert_eq!((&me["user_id"], &me["admin"]), (&"ann".into(), &true.into()));
}

#[test]
fn the_secret_is_the_owners_and_outlives_the_server() {
    let home = Home::new();
    let server = home.serve();
    let token = server.login_token().to_owned();
    server.stop(Signal::TERM);
    let secret = fs::read(home.secret()).unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(home.secret()), 0o600);
    assert_eq!(mode(home.secret().parent().unwrap().into()), 0o700);
    let files = fs::read_dir(home.secret().parent().unwrap()).unwrap();
    let names: Vec<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let drafts = names.iter().filter(|name| name.starts_with("secret."));
    assert_eq!(drafts.count(), 0, "a draft is left: {names:?}");
    let server = home.serve();
    assert_eq!(fs::read(home.secret()).unwrap(), secret);
    let answer = server.connect().ask("authenticate", json!({ "token": token }));
    assert_eq!(answer["payload"]["authenticated"], true);
}

#[test]
fn with_public_keys_the_issuers_tokens_log_in_and_the_server_signs_none() {
    let home = Home::new();
    home.write("issuer.pem", ISSUER);
    home.write("rejoin.toml", "[auth]\npublic_key_file = \"~/issuer.pem\"\n");
    let server = home.serve();
    let expected = format!("Log in: {}/#login=TOKEN with a token of the issuer", server.url);
    assert_eq!(server.login, expected);
    let mut client = server.connect();
    let answer = client.ask("authenticate", json!({ "token": TOKEN_OF_ISSUER }));
    assert_eq!(answer["payload"]["user_id"], "bob", "{answer}");
    // A terminal is the server's own user, for whom the issuer does not speak.
    assert_eq!(client.create("terminal")["payload"]["code"], "forbidden");
    let none = "`auth.public_key_file` is set, so tokens come from the issuer: \
                this server can sign none";
    assert_eq!(home.complains(&["token", "--user", "ann"]), format!("no token: {none}"));
    let complaint = home.complains(&["publish", "news", "1", "--url", &server.url]);
    assert_eq!(complaint, format!("no --token is given: {none}"));
    assert!(!home.secret().exists(), "a secret that nobody uses");
}

#[test]
fn a_private_key_in_the_place_of_the_public_one_is_refused() {
    let home = Home::new();
    home.write("issuer.pem", &ISSUER.replace("PUBLIC", "PRIVATE"));
    home.write("rejoin.toml", "[auth]\npublic_key_file = \"~/issuer.pem\"\n");
    let complaint = home.complains(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(
        complaint.ends_with(
            "/issuer.pem: this is a private key; give its public key, \
         and make a new pair if others saw this one"
        ),
        "{complaint}"
    );
}

#[test]
fn another_servers_token_is_refused() {
    let (one, other) = (Home::new(), Home::new());
    let (server, stranger) = (one.serve(), other.serve());
    let token = stranger.login_token();
    let answer = server.connect().ask("authenticate", json!({ "token": token }));
    assert_eq!(answer["payload"]["error"]["code"], "authentication_failed");
    let complaint =
        one.complains(&["publish", "news", "1", "--url", &server.url, "--token", token]);
    assert_eq!(complaint, "the token's signature is not from a key that this server trusts");
}

#[test]
fn a_token_is_for_its_user_and_what_its_file_allows() {
    let home = Home::new();
    let server = home.serve();
    home.write("caps.json", r#"{"topics":{"news.*":["publish"]}}"#);
    let token = home.prints(&["token", "--user", "bob", "--caps", "caps.json"]);
    let mut client = server.connect();
    let answer = client.ask("authenticate", json!({ "token": token.trim_end() }));
    assert_eq!(answer["payload"]["user_id"], "bob");
    let publish = |topic| json!({ "topic": topic, "data": 1 });
    assert_eq!(client.ask("publish", publish("news.a"))["type"], "ack");
    assert_eq!(client.ask("publish", publish("other"))["payload"]["code"], "forbidden");
    assert_eq!(client.create("terminal")["payload"]["code"], "forbidden");
}

#[test]
fn no_token_reaches_the_log() {
    let home = Home::new();
    let mut command = home.rejoin(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("REJOIN_LOG", "trace");
    let server = Server::start(&home, command);
    let good = server.login_token().to_owned();
    let expired = home.prints(&["token", "--user", "ann", "--ttl", "0s"]);
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    server.log_in();
    for wrong in [&forged, "nonsense.of.somebody"] {
        let answer = server.connect().ask("authenticate", json!({ "token": wrong }));
        assert_eq!(answer["payload"]["error"]["code"], "authentication_failed");
    }
    for token in [&good, &forged] {
        let address = server.url.strip_prefix("http://").unwrap();
        let mut socket = TcpStream::connect(address).unwrap();
        let request = format!(
            "GET /api/v1/sessions?ticket={token} HTTP/1.1\r\nHost: {address}\r\n\
             Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    }
    let (_, log) = server.stop(Signal::TERM);
    assert!(log.contains("connected") && log.contains("a token was refused"), "{log}");
    for token in [&*good, expired.trim_end(), &forged, "nonsense.of.somebody"] {
        // The first part only names the algorithm.
        for part in token.split('.').skip(1) {
            assert!(!log.contains(part), "{part} in the log");
        }
    }
    assert!(!log.contains(fs::read_to_string(home.secret()).unwrap().trim()));
}
