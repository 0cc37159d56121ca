//! The log: who came and went, what became of sessions, and no secret.

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

use crate::browsers::Browser;
use crate::support::{
    Home, Server,
    hostile::{Hostile, broken_input},
    until,
};

const WEBHOOK_SECRET: &str = "whsec_dGhpcnR5LXR3byBieXRlcyB0aGF0IGFyZSByYW5kb20=";

/// Each close of [`log_of_closes`]: the device, the code and its name.
const CLOSES: [(&str, u16, &str); 5] = [
    ("client", 1000, "normal"),
    ("stopping", 4000, "draining"),
    ("silent", 4001, "heartbeat_missed"),
    ("removed", 4504, "disconnected"),
    ("broken", 4505, "protocol_error"),
];

/// Closes a connection of the user `bob` for each of the reasons; returns the log.
fn log_of_closes(format: &str) -> String {
    let home = Home::new();
    let limits = "[limits]\nheartbeat = \"1s\"\n";
    home.write("rejoin.toml", &format!("[log]\nformat = \"{format}\"\n{limits}"));
    let server = home.serve();
    let token = home.token("bob", "1h");
    let connect = |device| server.hostile(&token, device);
    let closed = |mut client: Hostile, code| assert_eq!(client.close_code(), code);

    closed(connect("silent"), 4001);
    let client = connect("client");
    client.close();
    closed(client, 1000);
    let client = connect("removed");
    assert_eq!(server.admin().delete(&format!("/connections/{}", client.id)), 204);
    closed(client, 4504);
    let client = connect("broken");
    client.send(&[broken_input()]);
    closed(client, 4505);
    let client = connect("stopping");
    server.signal(Signal::TERM);
    closed(client, 4000);
    server.wait().1
}

/// The lines of a log of JSON.
fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// What a request for a socket is answered with.
fn upgrade(server: &Server, path: &str, header: &str) -> String {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer).unwrap();
    answer
}

/// A program that answers all requests well, until the test ends.
fn program() -> String {
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
fn json_lines_say_who_came_and_what_became_of_sessions() {
    let home = Home::new();
    home.write(
        "rejoin.toml",
        "[log]\nformat = \"json\"\n[profiles.brief]\ncommand = [\"sh\", \"-c\", \"exit 3\"]\n",
    );
    let server = home.serve();
    let mut client = server.log_in();
    let session = client.create("terminal")["payload"]["session"]["id"].clone();
    let id = json!({ "session": session });
    assert_eq!(client.ask("attach", id.clone())["type"], "attached");
    assert_eq!(client.ask("detach", id)["type"], "ack");
    let brief = client.create("brief")["payload"]["session"]["id"].clone();
    client.send("attach", json!({ "session": brief }));
    client.until(|message| !message["payload"]["exit"].is_null());
    drop(client);
    let (_, log) = server.stop(Signal::TERM);
    let lines = lines(&log);
    let of = |message: &str| lines.iter().find(|line| line["message"] == message).expect(message);
    let (came, went) = (of("connected"), of("disconnected"));
    assert_eq!((&came["user"], &came["level"]), (&json!("ann"), &json!("INFO")));
    assert_eq!((&went["id"], &went["user"]), (&came["id"], &came["user"]));
    // Each line about a session is in its span.
    let of_session = |id: &Value| -> Vec<&Value> {
        let is_its = |line: &&Value| line["spans"][0]["id"] == *id;
        lines.iter().filter(is_its).collect()
    };
    let statuses = |id| -> Vec<_> {
        let statuses = of_session(id).into_iter().map(|line| line["status"].clone());
        statuses.filter(Value::is_string).collect()
    };
    assert_eq!(statuses(&session), ["Idle", "Active", "Idle"]);
    let statuses = statuses(&brief);
    assert!(
        statuses.contains(&json!("Error")) && statuses.contains(&json!("Idle")),
        "{statuses:?}"
    );
    let ended = of("program ended");
    assert_eq!((&ended["spans"][0]["profile"], &ended["code"]), (&json!("brief"), &json!(3)));
    let changed = of_session(&session)[1];
    assert_eq!((&changed["user"], &changed["connection"]), (&came["user"], &came["id"]));
}

#[test]
fn each_line_about_a_connection_is_in_its_span_when_details_are_logged() {
    let home = Home::new();
    home.write("rejoin.toml", "[log]\nformat = \"json\"\nlevel = \"debug\"\n");
    let server = home.serve();
    drop(server.log_in());
    let (_, log) = server.stop(Signal::TERM);
    let lines = lines(&log);
    let went = lines.iter().find(|line| line["message"] == "disconnected").unwrap();
    let span = &went["spans"][0];
    assert_eq!((&span["name"], &span["user"]), (&json!("connection"), &json!("ann")));
    assert_eq!((&span["id"], &span["address"]), (&went["id"], &json!("127.0.0.1")));
}

#[test]
fn no_secret_reaches_the_most_detailed_log() {
    let home = Home::new();
    let url = program();
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
    let server = Server::start(&home, command);
    let token = server.login_token().to_owned();
    let ticket = "a-ticket-that-somebody-made-up-for-this-test";
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert!(upgrade(&server, "/ws", &bearer).contains("101"));
    let code = server.login_code().to_owned();
    let mut browser = Browser::new(&server);
    assert_eq!(browser.log_in(&json!({ "code": code })), 204);
    let secret = browser.cookie().split_once('=').unwrap().1.to_owned();
    let cookie = format!(
        "Cookie: rejoin_session={secret}\r\nOrigin: {}\r\nSec-Fetch-Site: same-origin\r\n",
        server.url
    );
    assert!(upgrade(&server, "/ws", &cookie).contains("101"));
    let refused = upgrade(&server, &format!("/ws?token={token}"), "");
    assert!(refused.contains("401"), "{refused}");
    upgrade(&server, &format!("/ws?ticket={ticket}"), "");
    let mut client = server.log_in();
    assert_eq!(client.ask("move", json!({ "word": "typed-by-ann" }))["type"], "x");
    client.send("refresh", json!({ "token": token }));
    assert_eq!(client.ask("ping", json!({}))["type"], "pong");
    drop(client);
    let (_, log) = server.stop(Signal::TERM);
    assert!(log.contains("connected") && log.contains("TRACE"), "{log}");
    let own = fs::read_to_string(home.path("data/secret")).unwrap();
    let hidden = ["hidden-path", "typed-by-ann", ticket, &code, &secret, own.trim()];
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
fn json_lines_hold_no_debug_text() {
    let home = Home::new();
    home.write("rejoin.toml", "[log]\nformat = \"json\"\nlevel = \"debug\"\n");
    let server = home.serve();
    let token = home.token("bob", "1h");
    server.hostile(&token, "phone").close();
    server.log_in().close();
    let refused = server.connect().ask("authenticate", json!({ "token": "none" }));
    assert_eq!(refused["payload"]["authenticated"], false, "{refused}");
    let (_, log) = server.stop(Signal::TERM);
    let of_debug = |line: &&str| line.contains("Some(") || line.contains("\":\"None\"");
    assert_eq!(log.lines().find(of_debug), None);
    assert!(log.contains(r#""device":"phone""#), "{log}");
}

/// Starts a server with an unread log, and waits for lost lines. Returns both.
fn unread(home: &Home) -> (Server, File) {
    home.write("rejoin.toml", "[log]\nlevel = \"trace\"\n");
    let log = home.path("log");
    mknodat(CWD, &log, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // Open for both, so that the server can open it, and never read.
    let pipe = File::options().read(true).write(true).open(&log).unwrap();
    let server = home.serve();
    let admin = server.admin();
    until(Duration::from_secs(60), "lines are lost", || {
        assert_eq!(admin.get("/me").0, 200);
        admin.metric("rejoin_log_lines_dropped_total") > 0
    });
    // The fixture reads the log at the end.
    fs::remove_file(&log).unwrap();
    fs::write(&log, "").unwrap();
    (server, pipe)
}

#[test]
fn an_unread_log_delays_nothing_and_its_lost_lines_are_counted() {
    let home = Home::new();
    let (server, _pipe) = unread(&home);
    assert_eq!(server.log_in().ask("ping", json!({}))["type"], "pong");
    let (code, _) = server.stop_within(Duration::from_secs(10), Signal::TERM);
    assert_eq!(code, Some(0));
}

#[test]
fn an_unread_log_does_not_delay_the_end_by_a_second_signal() {
    let home = Home::new();
    let (server, _pipe) = unread(&home);
    // It reads nothing, so that the stop lasts until the second signal.
    let _client = server.log_in();
    server.signal(Signal::TERM);
    let (code, _) = server.stop_within(Duration::from_secs(10), Signal::INT);
    assert!(code.is_some(), "it was killed by the signal");
}

#[test]
fn a_user_id_forges_no_field_and_no_line() {
    let home = Home::new();
    drop(home.serve());
    let user = "li user=root id=1 \"x\" address=8.8.8.8";
    let token = home.token(user, "1h");
    let mut command = home.rejoin(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("REJOIN_LOG", "debug");
    let server = Server::start(&home, command);
    let mut client = server.hostile(&token, "laptop");
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
