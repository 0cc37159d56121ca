//! Browsers: login links, browser sessions, and pages of other sites.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Home, Server};

/// A browser with a page of the server; it keeps the server's cookie.
pub(crate) struct Browser {
    address: String,
    scheme: &'static str,
    cookie: String,
}

impl Browser {
    pub(crate) fn new(server: &Server) -> Self {
        Self { address: server.address().to_owned(), scheme: "http", cookie: String::new() }
    }

    /// The cookie as the browser sends it.
    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Logs in; returns the status.
    pub(crate) fn log_in(&mut self, proof: &Value) -> u16 {
        self.send("POST", "/api/v1/login", proof).0
    }

    pub(crate) fn get(&mut self, path: &str) -> (u16, Value) {
        self.send("GET", path, &Value::Null)
    }

    fn send(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let Self { address, scheme, cookie } = self;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: {scheme}://{address}\r\n\
             Sec-Fetch-Site: same-origin\r\nX-Forwarded-For: 192.0.2.1\r\n\
             X-Forwarded-Proto: {scheme}\r\nCookie: {cookie}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let (head, body) = exchange(address, &format!("{head}{body}"));
        let set = head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        if let Some(set) = set {
            self.cookie = set.split(';').next().unwrap().to_owned();
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(&body).unwrap_or_default())
    }
}

/// Sends a request; returns the head and the body of the answer.
fn exchange(address: &str, request: &str) -> (String, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn logged_in(server: &Server, user: &str, home: &Home) -> Browser {
    let mut browser = Browser::new(server);
    assert_eq!(browser.log_in(&json!({ "token": home.token(user, "1h") })), 204);
    browser
}

#[test]
fn the_printed_link_holds_no_token_and_logs_in_once() {
    let home = Home::new();
    let server = home.serve();
    let code = server.login_code();
    assert!(!server.login.contains("eyJ") && code.len() == 43, "{}", server.login);
    let mut browser = Browser::new(&server);
    assert_eq!(browser.log_in(&json!({ "code": code })), 204);
    let mut other = Browser::new(&server);
    let (status, problem) = other.send("POST", "/api/v1/login", &json!({ "code": code }));
    assert_eq!((status, &problem["code"]), (401, &"authentication_failed".into()));
    assert_eq!(server.api(code).get("/me").0, 401, "a code is no token");
    assert_eq!(browser.get("/api/v1/me").0, 200);
}

#[test]
fn a_command_makes_another_link_for_the_server_that_runs() {
    let home = Home::new();
    let server = home.serve();
    let link = home.prints(&["token", "--link", "--url", &server.url]);
    let code = link.trim_end().strip_prefix(&format!("{}/#login=", server.url)).unwrap();
    let directory = home.path(".local/share/rejoin/login-codes");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "the server's and the command's");
    for file in files {
        assert_eq!(mode(&file), 0o600);
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name != code && !fs::read_to_string(&file).unwrap().contains(code));
    }
    let mut browser = Browser::new(&server);
    assert_eq!(browser.log_in(&json!({ "code": code })), 204);
    assert_eq!(browser.get("/api/v1/me").1["admin"], true);

    let link = home.prints(&["token", "--link", "--user", "bob"]);
    assert!(link.starts_with("http://127.0.0.1:7400/#login="), "{link}");
    let code = link.trim_end().split_once("#login=").unwrap().1;
    assert_eq!(browser.log_in(&json!({ "code": code })), 204);
    let (_, me) = browser.get("/api/v1/me");
    assert_eq!((&me["user_id"], &me["admin"]), (&"bob".into(), &false.into()));
}

#[test]
fn a_link_names_its_user_before_it_is_used() {
    let home = Home::new();
    let server = home.serve();
    let mut browser = logged_in(&server, "bob", &home);
    let cookie = browser.cookie().to_owned();
    for proof in [json!({ "code": server.login_code() }), json!({ "token": server.login_token() })]
    {
        let (status, named) = browser.send("POST", "/api/v1/login/check", &proof);
        assert_eq!((status, &named["user_id"]), (200, &"ann".into()), "{named}");
        assert_eq!(browser.get("/api/v1/me").1["user_id"], "bob");
        assert_eq!(browser.cookie(), cookie);
    }
    assert_eq!(browser.log_in(&json!({ "code": server.login_code() })), 204, "still unused");
    assert_eq!(browser.get("/api/v1/me").1["user_id"], "ann");
    browser.cookie = cookie;
    assert_eq!(browser.get("/api/v1/me").0, 401, "the session before has ended");
}

#[test]
fn a_browser_session_outlives_the_server_and_its_cookie_is_no_token() {
    let home = Home::new();
    let server = home.serve();
    let mut browser = logged_in(&server, "bob", &home);
    let secret = browser.cookie().strip_prefix("rejoin_session=").unwrap().to_owned();
    assert_eq!(secret.len(), 43, "an opaque id: {secret}");
    assert_eq!(server.api(&secret).get("/me").0, 401);
    let answer = server.connect().ask("authenticate", json!({ "token": secret }));
    assert_eq!(answer["payload"]["error"]["code"], "authentication_failed");
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
    let file = home.path(".local/share/rejoin/browser-sessions.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&file).unwrap().contains(&secret));

    let server = home.serve();
    browser.address = server.address().to_owned();
    assert_eq!(browser.get("/api/v1/me").1["user_id"], "bob");
    let mut client = server.connect_with(&[("cookie", browser.cookie()), ("origin", &server.url)]);
    assert_eq!(
        client.until(|message| message["type"] == "auth_result")["payload"]["user_id"],
        "bob"
    );
}

#[test]
fn a_log_out_ends_the_session_and_its_connections_only() {
    let home = Home::new();
    let server = home.serve();
    let mut browser = logged_in(&server, "bob", &home);
    let mut other = logged_in(&server, "bob", &home);
    let cookie = browser.cookie().to_owned();
    let client = server.connect_with(&[("cookie", &cookie)]);
    let mut kept = server.connect_with(&[("cookie", other.cookie())]);
    kept.until(|message| message["type"] == "auth_result");
    assert_eq!(browser.send("POST", "/api/v1/logout", &Value::Null).0, 204);
    assert_eq!(browser.cookie(), "rejoin_session=");
    assert_eq!(client.close_code(), 4500);
    browser.cookie = cookie;
    assert_eq!(browser.get("/api/v1/me").0, 401);
    assert_eq!(other.get("/api/v1/me").0, 200);
    assert_eq!(kept.ask("ping", json!({}))["type"], "pong");
}

#[test]
fn a_browser_is_listed_and_logged_out_from_elsewhere() {
    let home = Home::new();
    let server = home.serve();
    let mut browser = Browser::new(&server);
    let login = json!({
        "token": home.token("bob", "1h"), "device_id": "phone-1", "device_name": "Bob's phone",
    });
    assert_eq!(browser.log_in(&login), 204);
    let mut other = logged_in(&server, "bob", &home);
    let (status, list) = other.get("/api/v1/users/bob/browser-sessions");
    assert_eq!(status, 200, "{list}");
    let list = list["browser_sessions"].as_array().unwrap();
    let phone = list.iter().find(|it| it["device"] == "phone-1").unwrap();
    assert_eq!(
        (list.len(), &phone["current"], &phone["address"]),
        (2, &false.into(), &"127.0.0.1".into())
    );
    assert_eq!(phone["device_name"], "Bob's phone");
    assert!(!list.iter().any(|it| it.to_string().contains(&browser.cookie()[15..])));

    let path = format!("/api/v1/users/bob/browser-sessions/{}", phone["id"].as_str().unwrap());
    let mut stranger = logged_in(&server, "carl", &home);
    assert_eq!(stranger.send("DELETE", &path, &Value::Null).0, 403);
    assert_eq!(stranger.get("/api/v1/users/bob/browser-sessions").0, 403);
    let client = server.connect_with(&[("cookie", browser.cookie())]);
    assert_eq!(other.send("DELETE", &path, &Value::Null).0, 204);
    assert_eq!(other.send("DELETE", &path, &Value::Null).0, 404);
    assert_eq!(client.close_code(), 4500);
    assert_eq!(browser.get("/api/v1/me").0, 401);
}

#[test]
fn a_revoked_user_is_logged_out_for_good() {
    let home = Home::new();
    let server = home.serve();
    let mut browser = logged_in(&server, "bob", &home);
    let link = home.prints(&["token", "--link", "--user", "bob"]);
    let client = server.connect_with(&[("cookie", browser.cookie())]);
    let admin = server.admin();
    assert_eq!(admin.post("/revocations", &json!({ "user": "bob" })).0, 201);
    assert_eq!(client.close_code(), 4504);
    assert_eq!(browser.get("/api/v1/me").0, 401);
    let code = link.trim_end().split_once("#login=").unwrap().1;
    assert_eq!(Browser::new(&server).log_in(&json!({ "code": code })), 401);
    assert_eq!(admin.delete("/revocations/users/bob"), 204);
    assert_eq!(browser.get("/api/v1/me").0, 401, "a lifted revocation brings no browser back");
}

#[test]
fn a_user_has_at_most_32_browser_sessions() {
    let home = Home::new();
    let server = home.serve();
    let mut bob = logged_in(&server, "bob", &home);
    let token = home.token("ann", "1h");
    let mut browsers: Vec<_> = (0..33)
        .map(|_| {
            let mut browser = Browser::new(&server);
            assert_eq!(browser.log_in(&json!({ "token": token })), 204);
            browser
        })
        .collect();
    let states: Vec<_> = browsers.iter_mut().map(|it| it.get("/api/v1/me").0).collect();
    assert_eq!(states.iter().filter(|status| **status == 200).count(), 32);
    assert_eq!(bob.get("/api/v1/me").0, 200);
}

#[test]
fn over_tls_the_cookie_is_bound_to_the_host() {
    let home = Home::new();
    home.write("rejoin.toml", "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    let server = home.serve();
    let mut browser = Browser { scheme: "https", ..Browser::new(&server) };
    assert_eq!(browser.log_in(&json!({ "token": home.token("bob", "1h") })), 204);
    assert!(browser.cookie().starts_with("__Host-rejoin_session="), "{}", browser.cookie());
    assert_eq!(browser.get("/api/v1/me").0, 200);
    // Another program may set a cookie without TLS.
    browser.cookie = browser.cookie().replace("__Host-", "");
    assert_eq!(browser.get("/api/v1/me").0, 401);
}

#[test]
fn without_log_in_other_names_for_the_server_are_refused() {
    let home = Home::new();
    let open = "[auth]\nrequired = false\n[server]\nallowed_hosts = [\"rejoin.example\"]\n";
    home.write("rejoin.toml", open);
    let server = home.serve();
    let ask = |host: &str, path: &str, more: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close{more}\r\n\r\n");
        let (head, body) = exchange(server.address(), &request);
        (head.split(' ').nth(1).unwrap().to_owned(), body)
    };
    let port = server.address().split_once(':').unwrap().1;
    let upgrade = ", Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    for host in ["rebound.example", &format!("rebound.example:{port}"), "127.0.0.1.rebound.example"]
    {
        for path in ["/", "/api/v1/sessions", "/healthz"] {
            let (status, body) = ask(host, path, "");
            assert_eq!(status, "421", "{host}{path}");
            assert!(body.contains("`server.allowed_hosts`"), "{body}");
        }
        for path in ["/ws", "/ws/terminal/new"] {
            assert_eq!(ask(host, path, upgrade).0, "421", "{host}{path}");
        }
    }
    for host in ["localhost", server.address(), &format!("rejoin.example:{port}")] {
        assert_eq!(ask(host, "/api/v1/sessions", "").0, "200", "{host}");
    }
    let mut client = server.connect();
    assert_eq!(client.ask("ping", json!({}))["type"], "pong");
}
