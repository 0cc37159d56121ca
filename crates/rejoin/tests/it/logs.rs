//! The log: lines about connections and sessions, no secrets, and no delay by an unread log.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};
use serde_json::{Value, json};

use crate::support::{
    TestHome, TestServer, WEBHOOK_SECRET,
    browser::TestBrowser,
    frame_client::{FrameClient, invalid_input},
    wait_until,
};

/// The closes of [`log_of_closes`]: the device, the code, and the name of the code.
const CLOSES: [(&str, u16, &str); 5] = [
    ("client", 1000, "normal"),
    ("stopping", 4000, "draining"),
    ("silent", 4001, "heartbeat_missed"),
    ("removed", 4504, "disconnected"),
    ("broken", 4505, "protocol_error"),
];

/// Closes a connection of the user `bob` with each code of [`CLOSES`]. Returns the log.
fn log_of_closes(format: &str) -> String {
    let home = TestHome::new();
    let limits = "[limits]\nheartbeat = \"1s\"\n";
    home.write("rejoin.toml", &format!("[log]\nformat = \"{format}\"\n{limits}"));
    let server = home.start_server();
    let token = home.token("bob", "1h");

    let connect = |device| server.frame_client(&token, device);
    let assert_closed = |mut client: FrameClient, code| assert_eq!(client.close_code(), code);

    // First, because it takes two heartbeats: the other clients answer no pings either.
    assert_closed(connect("silent"), 4001);

    let client = connect("client");
    client.close();
    assert_closed(client, 1000);

    let client = connect("removed");
    assert_eq!(server.admin_api().delete(&format!("/connections/{}", client.id)), 204);
    assert_closed(client, 4504);

    let client = connect("broken");
    client.send(&[invalid_input()]);
    assert_closed(client, 4505);

    let client = connect("stopping");
    server.signal(Signal::TERM);
    assert_closed(client, 4000);
    server.wait().1
}

/// Parses the lines of a JSON log.
fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Requests an upgrade to a WebSocket. Returns the status line of the response.
fn request_upgrade(server: &TestServer, path: &str, header: &str) -> String {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut status_line = String::new();
    BufReader::new(socket).read_line(&mut status_line).unwrap();
    status_line
}

/// Starts a webhook program that answers each request. Returns its URL.
fn start_program() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();

    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                while socket.read(&mut request).is_ok_and(|length| length > 0) {
                    let body = r#"{"type":"x","payload":1}"#;
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}", body.len());
                    let _ = write!(socket, "{head}\r\n\r\n{body}");
                }
            });
        }
    });
    format!("http://{address}/hidden-path")
}

#[test]
fn json_lines_describe_connections_and_sessions() {
    let home = TestHome::new();
    home.write(
        "rejoin.toml",
        "[log]\nformat = \"json\"\n[profiles.brief]\ncommand = [\"sh\", \"-c\", \"exit 3\"]\n",
    );
    let server = home.start_server();

    let mut client = server.connect_as_admin();
    let session = client.create_session("terminal")["payload"]["session"]["id"].clone();
    let id = json!({ "session": session });
    assert_eq!(client.request("attach", id.clone())["type"], "attached");
    assert_eq!(client.request("detach", id)["type"], "ack");

    let brief = client.create_session("brief")["payload"]["session"]["id"].clone();
    client.send("attach", json!({ "session": brief }));
    client.wait_for(|message| !message["payload"]["exit"].is_null());
    drop(client);
    let (_, log) = server.stop(Signal::TERM);

    let lines = lines(&log);
    let line_of =
        |message: &str| lines.iter().find(|line| line["message"] == message).expect(message);
    let (connected, disconnected) = (line_of("connected"), line_of("disconnected"));
    assert_eq!((&connected["user"], &connected["level"]), (&json!("ann"), &json!("INFO")));
    assert_eq!(
        (&disconnected["id"], &disconnected["user"]),
        (&connected["id"], &connected["user"])
    );

    // Each line about a session is in the span of the session.
    let lines_of_session = |id: &Value| -> Vec<&Value> {
        let is_in_span = |line: &&Value| line["spans"][0]["id"] == *id;
        lines.iter().filter(is_in_span).collect()
    };
    let statuses = |id| -> Vec<_> {
        let statuses = lines_of_session(id).into_iter().map(|line| line["status"].clone());
        statuses.filter(Value::is_string).collect()
    };
    assert_eq!(statuses(&session), ["Idle", "Active", "Idle"]);

    let statuses = statuses(&brief);
    assert!(
        statuses.contains(&json!("Error")) && statuses.contains(&json!("Idle")),
        "{statuses:?}"
    );

    let ended = line_of("program ended");
    assert_eq!((&ended["spans"][0]["profile"], &ended["code"]), (&json!("brief"), &json!(3)));

    let changed = lines_of_session(&session)[1];
    assert_eq!((&changed["user"], &changed["connection"]), (&connected["user"], &connected["id"]));
}

#[test]
fn debug_lines_are_in_the_span_of_their_connection() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[log]\nformat = \"json\"\nlevel = \"debug\"\n");
    let server = home.start_server();

    drop(server.connect_as_admin());
    let (_, log) = server.stop(Signal::TERM);

    let lines = lines(&log);
    let disconnected = lines.iter().find(|line| line["message"] == "disconnected").unwrap();
    let span = &disconnected["spans"][0];
    assert_eq!((&span["name"], &span["user"]), (&json!("connection"), &json!("ann")));
    assert_eq!((&span["id"], &span["address"]), (&disconnected["id"], &json!("127.0.0.1")));
}

#[test]
fn no_secret_reaches_the_most_detailed_log() {
    let home = TestHome::new();
    let url = start_program();
    home.write("data/hook", &format!("{WEBHOOK_SECRET}\n"));
    home.write(
        "rejoin.toml",
        &format!(
            "[server]\ndata_dir = \"data\"\n[webhooks.events]\nurl = \"{url}\"\n\
             secret_file = \"hook\"\n[webhooks.messages.move]\nurl = \"{url}\"\n\
             secret_file = \"hook\"\n"
        ),
    );

    let mut command = home.rejoin(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("REJOIN_LOG", "trace");
    let server = TestServer::start(&home, command);
    let token = server.admin_token().to_owned();
    let ticket = "a-ticket-that-this-test-made-up";

    // Use every way to present a secret: header, code, cookie, URL, ticket, message.
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert!(request_upgrade(&server, "/ws", &bearer).contains("101"));

    let code = server.login_code().to_owned();
    let mut browser = TestBrowser::new(&server);
    assert_eq!(browser.log_in(&json!({ "code": code })), 204);

    let secret = browser.cookie.split_once('=').unwrap().1.to_owned();
    let cookie = format!(
        "Cookie: rejoin_session={secret}\r\nOrigin: {}\r\nSec-Fetch-Site: same-origin\r\n",
        server.url
    );
    assert!(request_upgrade(&server, "/ws", &cookie).contains("101"));

    // Refused without `auth.token_in_url`, and still not logged.
    let refused = request_upgrade(&server, &format!("/ws?token={token}"), "");
    assert!(refused.contains("401"), "{refused}");

    request_upgrade(&server, &format!("/ws?ticket={ticket}"), "");
    let mut client = server.connect_as_admin();
    assert_eq!(client.request("move", json!({ "word": "typed-by-ann" }))["type"], "x");

    client.send("refresh", json!({ "token": token }));
    assert_eq!(client.request("ping", json!({}))["type"], "pong");

    drop(client);
    let (_, log) = server.stop(Signal::TERM);
    assert!(log.contains("connected") && log.contains("TRACE"), "{log}");

    let own = fs::read_to_string(home.path("data/secret")).unwrap();
    let hidden = ["hidden-path", "typed-by-ann", ticket, &code, &secret, own.trim()];
    // The signing key of the webhook without its public prefix, and the token without its header.
    let hidden = hidden.into_iter().chain([&WEBHOOK_SECRET[6..]]);
    for secret in token.split('.').skip(1).chain(hidden) {
        if let Some(line) = log.lines().find(|line| line.contains(secret)) {
            panic!("{secret} in the log: {line}");
        }
    }
}

#[test]
fn json_lines_name_the_code_of_each_close() {
    let log = log_of_closes("json");

    for message in ["connected", "disconnected"] {
        for (device, code, reason) in CLOSES {
            let line = lines(&log)
                .into_iter()
                .find(|line| line["message"] == message && line["device"] == device)
                .unwrap_or_else(|| panic!("no line `{message}` with the device `{device}`: {log}"));
            let has = |field: &str, value: Value| assert_eq!(line[field], value, "{field}: {line}");
            has("user", json!("bob"));
            has("address", json!("127.0.0.1"));
            if message == "disconnected" {
                has("code", json!(code));
                has("reason", json!(reason));
            }
        }
    }
}

#[test]
fn text_lines_name_the_code_of_each_close() {
    let log = log_of_closes("text").replace('"', "");

    for (device, code, reason) in CLOSES {
        let fields = [
            "disconnected".to_owned(),
            "user=bob".to_owned(),
            format!("device={device}"),
            "address=127.0.0.1".to_owned(),
            format!("code={code}"),
            format!("reason={reason}"),
        ];
        let has_all = |line: &str| fields.iter().all(|field| line.contains(field));
        assert!(log.lines().any(has_all), "no line with {fields:?}:\n{log}");
    }
}

#[test]
fn json_lines_contain_no_debug_format() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[log]\nformat = \"json\"\nlevel = \"debug\"\n");
    let server = home.start_server();
    let token = home.token("bob", "1h");

    server.frame_client(&token, "phone").close();
    server.connect_as_admin().close();
    let refused = server.connect().request("authenticate", json!({ "token": "none" }));
    assert_eq!(refused["payload"]["authenticated"], false, "{refused}");

    let (_, log) = server.stop(Signal::TERM);
    let is_debug = |line: &&str| line.contains("Some(") || line.contains("\":\"None\"");
    assert_eq!(log.lines().find(is_debug), None);
    assert!(log.contains(r#""device":"phone""#), "{log}");
}

/// Starts a server whose log is not read, and waits until lines are lost. Returns the server and
/// the pipe of its log.
fn start_with_unread_log(home: &TestHome) -> (TestServer, File) {
    home.write("rejoin.toml", "[log]\nlevel = \"trace\"\n");
    let log = home.path("log");
    mknodat(CWD, &log, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // A pipe that is open for reading but never read. The open for both does not block.
    let pipe = File::options().read(true).write(true).open(&log).unwrap();
    let server = home.start_server();
    let admin = server.admin_api();

    wait_until(Duration::from_secs(60), "lines are lost", || {
        assert_eq!(admin.get("/me").0, 200);
        admin.metric("rejoin_log_lines_dropped_total") > 0
    });

    // At the end `TestServer` reads a file with this name, which must not be the pipe.
    fs::remove_file(&log).unwrap();
    fs::write(&log, "").unwrap();
    (server, pipe)
}

#[test]
fn an_unread_log_delays_nothing_and_lost_lines_are_counted() {
    let home = TestHome::new();
    let (server, _pipe) = start_with_unread_log(&home);

    assert_eq!(server.connect_as_admin().request("ping", json!({}))["type"], "pong");

    let (code, _) = server.stop_within(Duration::from_secs(10), Signal::TERM);
    assert_eq!(code, Some(0));
}

#[test]
fn an_unread_log_does_not_delay_a_second_signal() {
    let home = TestHome::new();
    let (server, _pipe) = start_with_unread_log(&home);

    // A client that does not answer the close keeps the first stop from ending.
    let _client = server.connect_as_admin();
    server.signal(Signal::TERM);

    let (code, _) = server.stop_within(Duration::from_secs(10), Signal::INT);
    assert!(code.is_some(), "the signal killed the server");
}

#[test]
fn a_user_id_cannot_forge_fields_or_lines() {
    let home = TestHome::new();

    drop(home.start_server());
    let user = "li user=root id=1 \"x\" address=8.8.8.8";
    let token = home.token(user, "1h");
    let mut command = home.rejoin(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("REJOIN_LOG", "debug");
    let server = TestServer::start(&home, command);

    let mut client = server.frame_client(&token, "laptop");
    client.attach_to_new_terminal();
    client.close();
    client.read_to_end();
    let (code, log) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");

    let lines: Vec<_> = log.lines().filter(|line| line.contains("root")).collect();
    assert!(lines.len() >= 3, "{log}");

    for line in lines {
        let rest = line.replace(&format!("user={user:?}"), "");
        assert!(!rest.contains("root"), "{line}");
    }
}
