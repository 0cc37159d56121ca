//! Browsers: login links, browser sessions, and pages of other sites.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    TestHome,
    browser::{TestBrowser, exchange},
};

#[test]
fn the_printed_link_holds_no_token_and_logs_in_once() {
    let home = TestHome::new();
    let server = home.start_server();

    let code = server.login_code();
    assert!(!server.login_line.contains("eyJ") && code.len() == 43, "{}", server.login_line);

    let mut browser = TestBrowser::new(&server);
    assert_eq!(browser.log_in(&json!({ "code": code })), 204);

    // A code works once, and in no other place.
    let mut other = TestBrowser::new(&server);
    let (status, problem) = other.send("POST", "/api/v1/login", &json!({ "code": code }));
    assert_eq!((status, &problem["code"]), (401, &"authentication_failed".into()));
    assert_eq!(server.api(code).get("/me").0, 401, "a code is no token");
    assert_eq!(browser.get("/api/v1/me").0, 200);
}

#[test]
fn the_token_command_prints_a_link_for_a_running_server() {
    let home = TestHome::new();
    let server = home.start_server();

    // The server listens on another port than the configuration says.
    let link = home.output_of(&["token", "--link"]);
    let code = link.trim_end().strip_prefix(&format!("{}/#login=", server.url)).unwrap();
    let directory = home.data_path("login-codes");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);

    // Neither the name nor the content of a file reveals its code.
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "one of the server and one of the command");
    for file in files {
        assert_eq!(mode(&file), 0o600);
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name != code && !fs::read_to_string(&file).unwrap().contains(code));
    }

    let mut browser = TestBrowser::new(&server);
    assert_eq!(browser.log_in(&json!({ "code": code })), 204);
    assert_eq!(browser.get("/api/v1/me").1["admin"], true);

    let url = "https://example.org/rejoin/";
    let link = home.output_of(&["token", "--link", "--user", "bob", "--url", url]);
    let code = link.trim_end().strip_prefix("https://example.org/rejoin/#login=").unwrap();
    assert_eq!(browser.log_in(&json!({ "code": code })), 204);

    let (_, me) = browser.get("/api/v1/me");
    assert_eq!((&me["user_id"], &me["admin"]), (&"bob".into(), &false.into()));

    // A killed server leaves its address behind, and is not found any more.
    server.stop(Signal::KILL);
    let link = home.output_of(&["token", "--link"]);
    assert!(link.starts_with("http://127.0.0.1:7400/#login="), "{link}");
}

#[test]
fn a_link_shows_its_user_before_the_log_in() {
    let home = TestHome::new();
    let server = home.start_server();

    let mut browser = TestBrowser::logged_in(&server, "bob", &home);
    let cookie = browser.cookie.clone();

    // The check of a link changes nothing: a page asks before it replaces another user's log-in.
    for proof in [json!({ "code": server.login_code() }), json!({ "token": server.admin_token() })]
    {
        let (status, checked) = browser.send("POST", "/api/v1/login/check", &proof);
        assert_eq!((status, &checked["user_id"]), (200, &"ann".into()), "{checked}");
        assert_eq!(browser.get("/api/v1/me").1["user_id"], "bob");
        assert_eq!(browser.cookie, cookie);
    }

    let code = json!({ "code": server.login_code() });
    assert_eq!(browser.log_in(&code), 204, "the check must not use the code");
    assert_eq!(browser.get("/api/v1/me").1["user_id"], "ann");

    browser.cookie = cookie;
    assert_eq!(browser.get("/api/v1/me").0, 401, "the previous browser session must end");
}

#[test]
fn a_browser_session_survives_a_restart_and_is_no_token() {
    let home = TestHome::new();
    let server = home.start_server();

    let mut browser = TestBrowser::logged_in(&server, "bob", &home);
    let secret = browser.cookie.strip_prefix("rejoin_session=").unwrap().to_owned();
    assert_eq!(secret.len(), 43, "an opaque id: {secret}");
    assert_eq!(server.api(&secret).get("/me").0, 401);

    let result = server.connect().request("authenticate", json!({ "token": secret }));
    assert_eq!(result["payload"]["error"]["code"], "authentication_failed");
    assert_eq!(server.stop(Signal::TERM).0, Some(0));

    // The file contains a hash of the secret only.
    let file = home.data_path("browser-sessions.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&file).unwrap().contains(&secret));

    let server = home.start_server();

    browser.address = server.address().to_owned();
    assert_eq!(browser.get("/api/v1/me").1["user_id"], "bob");

    let mut client = server.connect_with(&[("cookie", &browser.cookie), ("origin", &server.url)]);
    let result = client.wait_for(|message| message["type"] == "auth_result");
    assert_eq!(result["payload"]["user_id"], "bob");
}

#[test]
fn a_log_out_ends_only_that_session_and_its_connections() {
    let home = TestHome::new();
    let server = home.start_server();

    let mut browser = TestBrowser::logged_in(&server, "bob", &home);
    let mut other = TestBrowser::logged_in(&server, "bob", &home);
    let cookie = browser.cookie.clone();
    let client = server.connect_with(&[("cookie", &cookie)]);
    let mut kept = server.connect_with(&[("cookie", &other.cookie)]);
    kept.wait_for(|message| message["type"] == "auth_result");

    assert_eq!(browser.send("POST", "/api/v1/logout", &Value::Null).0, 204);
    assert_eq!(browser.cookie, "rejoin_session=");
    assert_eq!(client.close_code(), 4500);

    browser.cookie = cookie;
    assert_eq!(browser.get("/api/v1/me").0, 401);
    assert_eq!(other.get("/api/v1/me").0, 200);
    assert_eq!(kept.request("ping", json!({}))["type"], "pong");
}

#[test]
fn another_browser_lists_a_session_and_ends_it() {
    let home = TestHome::new();
    let server = home.start_server();

    let mut browser = TestBrowser::new(&server);
    let login = json!({
        "token": home.token("bob", "1h"), "device_id": "phone-1", "device_name": "Bob's phone",
    });
    assert_eq!(browser.log_in(&login), 204);

    let mut other = TestBrowser::logged_in(&server, "bob", &home);
    let (status, list) = other.get("/api/v1/users/bob/browser-sessions");
    assert_eq!(status, 200, "{list}");

    let list = list["browser_sessions"].as_array().unwrap();
    let phone = list.iter().find(|session| session["device"] == "phone-1").unwrap();
    assert_eq!(
        (list.len(), &phone["current"], &phone["address"]),
        (2, &false.into(), &"127.0.0.1".into())
    );
    assert_eq!(phone["device_name"], "Bob's phone");
    let secret = &browser.cookie["rejoin_session=".len()..];
    assert!(!list.iter().any(|session| session.to_string().contains(secret)));

    let path = format!("/api/v1/users/bob/browser-sessions/{}", phone["id"].as_str().unwrap());

    // Only the user and administrators may list and end the sessions.
    let mut stranger = TestBrowser::logged_in(&server, "carl", &home);
    assert_eq!(stranger.send("DELETE", &path, &Value::Null).0, 403);
    assert_eq!(stranger.get("/api/v1/users/bob/browser-sessions").0, 403);

    let client = server.connect_with(&[("cookie", &browser.cookie)]);
    assert_eq!(other.send("DELETE", &path, &Value::Null).0, 204);
    assert_eq!(other.send("DELETE", &path, &Value::Null).0, 404);
    assert_eq!(client.close_code(), 4500);
    assert_eq!(browser.get("/api/v1/me").0, 401);
}

#[test]
fn a_revoked_user_stays_logged_out() {
    let home = TestHome::new();
    let server = home.start_server();

    let mut browser = TestBrowser::logged_in(&server, "bob", &home);
    let link = home.output_of(&["token", "--link", "--user", "bob"]);
    let client = server.connect_with(&[("cookie", &browser.cookie)]);
    let admin = server.admin_api();

    assert_eq!(admin.post("/revocations", &json!({ "user": "bob" })).0, 201);
    assert_eq!(client.close_code(), 4504);
    assert_eq!(browser.get("/api/v1/me").0, 401);

    // Neither an earlier link nor the end of the revocation logs the user in again.
    let code = link.trim_end().split_once("#login=").unwrap().1;
    assert_eq!(TestBrowser::new(&server).log_in(&json!({ "code": code })), 401);
    assert_eq!(admin.delete("/revocations/users/bob"), 204);
    assert_eq!(browser.get("/api/v1/me").0, 401, "the browser session must stay ended");
}

#[test]
fn a_user_has_at_most_32_browser_sessions() {
    let home = TestHome::new();
    let server = home.start_server();

    let mut bob = TestBrowser::logged_in(&server, "bob", &home);
    let token = home.token("ann", "1h");

    // One more than the limit: the oldest session of the user ends, and none of another user.
    let mut browsers: Vec<_> = (0..33)
        .map(|_| {
            let mut browser = TestBrowser::new(&server);
            assert_eq!(browser.log_in(&json!({ "token": token })), 204);
            browser
        })
        .collect();

    let states: Vec<_> = browsers.iter_mut().map(|it| it.get("/api/v1/me").0).collect();
    assert_eq!(states.iter().filter(|status| **status == 200).count(), 32);
    assert_eq!(bob.get("/api/v1/me").0, 200);
}

#[test]
fn a_cookie_over_tls_is_bound_to_the_host() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    let server = home.start_server();

    let mut browser = TestBrowser { scheme: "https", ..TestBrowser::new(&server) };
    assert_eq!(browser.log_in(&json!({ "token": home.token("bob", "1h") })), 204);
    assert!(browser.cookie.starts_with("__Host-rejoin_session="), "{}", browser.cookie);
    assert_eq!(browser.get("/api/v1/me").0, 200);

    // A page on another port of the host could set this name without TLS.
    browser.cookie = browser.cookie.replace("__Host-", "");
    assert_eq!(browser.get("/api/v1/me").0, 401);
}

#[test]
fn a_server_without_log_in_refuses_unknown_hosts() {
    let home = TestHome::new();
    let open = "[auth]\nrequired = false\n[server]\nallowed_hosts = [\"rejoin.example\"]\n";
    home.write("rejoin.toml", open);
    let server = home.start_server();

    let get = |host: &str, path: &str, more: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close{more}\r\n\r\n");
        let (head, body) = exchange(server.address(), &request);
        (head.split(' ').nth(1).unwrap().to_owned(), body)
    };

    let port = server.address().split_once(':').unwrap().1;
    let upgrade = ", Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

    // DNS rebinding: a foreign page reaches the server under a name of its own.
    for host in ["rebound.example", &format!("rebound.example:{port}"), "127.0.0.1.rebound.example"]
    {
        for path in ["/", "/api/v1/sessions", "/healthz"] {
            let (status, body) = get(host, path, "");
            assert_eq!(status, "421", "{host}{path}");
            assert!(body.contains("`server.allowed_hosts`"), "{body}");
        }
        for path in ["/ws", "/ws/terminal/new"] {
            assert_eq!(get(host, path, upgrade).0, "421", "{host}{path}");
        }
    }

    for host in ["localhost", server.address(), &format!("rejoin.example:{port}")] {
        assert_eq!(get(host, "/api/v1/sessions", "").0, "200", "{host}");
    }

    let mut client = server.connect();
    assert_eq!(client.request("ping", json!({}))["type"], "pong");
}
