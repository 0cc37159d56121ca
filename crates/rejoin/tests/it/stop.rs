//! The stop of the server: its signals, its deadlines, and the state that the next process
//! continues.

use std::{fs, io::Write, net::TcpStream, time::Duration};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    TestClient, TestHome, TestServer,
    certificate::{TLS_CONFIGURATION, write_certificate},
    wait_until,
};

/// Time limit of a test. The exit code says whether a stop kept its own deadlines: it is 1 if a
/// task was aborted after 10 s.
const STOP: Duration = Duration::from_secs(30);

/// Creates a session, types the input and waits until its program has printed `420`.
fn attach_to_program(server: &TestServer, input: &str) -> TestClient {
    let mut client = server.connect_as_admin();
    let created = client.create_session("terminal");
    let session = created["payload"]["session"]["id"].as_str().expect("a session").to_owned();
    let attached = client.request("attach", json!({ "session": session, "cols": 80, "rows": 24 }));
    assert_eq!(attached["type"], "attached", "{attached}");

    client.send("input", json!({ "session": session, "data": input }));
    while !String::from_utf8_lossy(&client.read().into_data()).contains("420") {}
    client
}

/// Starts a server with a program that reads no input and ignores the hang-up.
fn start_with_stubborn_program(home: &TestHome) -> (TestServer, TestClient) {
    // Raw and without echo, so that input stays in the PTY. `420` is not in the echo of the script.
    let script = "trap '' HUP TERM; stty raw -echo; echo $((6 * 7))0; exec sleep 600";
    let limits = "[limits]\nmax_message_bytes = \"1MiB\"\n";
    let profile =
        format!("{limits}[profiles.terminal]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
    home.write("rejoin.toml", &profile);
    let server = home.start_server();
    let client = attach_to_program(&server, "");
    (server, client)
}

#[test]
fn a_signal_stops_the_server_and_notifies_clients() {
    let home = TestHome::new();
    for signal in [Signal::TERM, Signal::INT] {
        let server = home.start_server();
        let mut client = attach_to_program(&server, "echo $((6 * 7))0\r");

        server.signal(signal);
        let closing = client.wait_for(|message| message["type"] == "closing");
        assert_eq!(closing["payload"]["code"], 4000, "{closing}");
        assert_eq!(client.close_code(), 4000);

        let (code, log) = server.wait();
        assert_eq!(code, Some(0), "{log}");
        // The running shell does not delay the stop.
        assert!(!log.contains("aborted at the deadline"), "{log}");
        assert!(log.contains("stopping"), "{log}");
    }
}

#[test]
fn a_program_that_ignores_signals_survives_a_stop() {
    let home = TestHome::new();
    let (server, client) = start_with_stubborn_program(&home);

    server.signal(Signal::TERM);
    assert_eq!(client.close_code(), 4000);

    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("aborted at the deadline"), "{log}");

    let sessions = home.start_server().admin_api().get("/sessions").1;
    assert_eq!(sessions["sessions"][0]["status"], "idle", "{sessions}");
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[server]\ndrain_delay = \"10m\"\n");
    let server = home.start_server();

    server.signal(Signal::TERM);
    server.wait_for_log("no longer ready");

    let (code, log) = server.stop(Signal::INT);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("stopped at once"), "{log}");
}

#[test]
fn a_client_that_ignores_the_close_delays_no_stop() {
    let home = TestHome::new();
    let server = home.start_server();

    let _client = attach_to_program(&server, "echo $((6 * 7))0\r");
    let (code, log) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("aborted at the deadline"), "{log}");
}

#[test]
fn a_topic_continues_in_the_next_process() {
    let home = TestHome::new();
    let server = home.start_server();

    let mut client = server.connect_as_admin();
    let publish = |client: &mut TestClient, data: u32, key: &str| {
        let reply = client.request("publish", json!({ "topic": "news", "data": data, "key": key }));
        reply["payload"]["position"].as_str().expect("a position").to_owned()
    };

    let first = publish(&mut client, 1, "a");
    let second = publish(&mut client, 2, "b");
    let (code, log) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");

    let server = home.start_server();
    let mut client = server.connect_as_admin();
    // The key of a publish is remembered: a retry is not published again.
    assert_eq!(publish(&mut client, 2, "b"), second);

    let reply = client.request("subscribe", json!({ "topic": "news", "position": first }));
    assert_eq!(reply["payload"]["verdict"], "resumed", "{reply}");
    assert_eq!(reply["payload"]["replayed"], 1, "{reply}");

    let message = client.wait_for(|message| message["type"] == "message");
    assert_eq!(message["payload"]["data"], 2);
    assert_eq!(message["payload"]["position"], second);

    // Published by another client: `request` discards messages that arrive before its reply.
    let third = publish(&mut server.connect_as_admin(), 3, "c");
    let message = client.wait_for(|message| message["type"] == "message");
    assert_eq!(message["payload"]["position"], third);

    // A crash saves no topic that is not durable, and the earlier save is not used twice.
    server.signal(Signal::KILL);
    server.wait();
    let server = home.start_server();
    let mut client = server.connect_as_admin();
    let reply = client.request("subscribe", json!({ "topic": "news", "position": first }));
    assert_eq!(reply["payload"]["verdict"], "gap", "{reply}");
    assert_eq!(reply["payload"]["reason"], "epoch", "{reply}");
}

/// Publishes a message that only a clean stop keeps.
fn publish_message_to_keep(server: &TestServer) {
    let message = json!({ "topic": "news", "data": "to keep" });
    assert_eq!(server.admin_api().post("/publish", &message).0, 200);
}

fn assert_message_is_kept(home: &TestHome) {
    let journal = fs::read(home.data_path("journal")).unwrap();
    assert!(String::from_utf8_lossy(&journal).contains("to keep"));
}

#[test]
fn a_hundred_blocked_clients_do_not_delay_a_stop() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[limits]\nconnections_per_ip = { count = 0 }\n");
    let server = home.start_server();

    let mut publisher = server.connect_as_admin();
    let reply = publisher.request("publish", json!({ "topic": "news", "data": 1 }));
    let position = reply["payload"]["position"].clone();
    publisher.request("publish", json!({ "topic": "news", "data": 2 }));
    publisher.close();

    let mut clients: Vec<_> =
        (0..100).map(|_| server.frame_client(server.admin_token(), "laptop")).collect();
    for client in &mut clients {
        assert_eq!(client.request("subscribe", json!({ "topic": "flood" }))["type"], "ack");
    }
    server.admin_api().flood("flood");

    let (code, log) = server.stop_within(STOP, Signal::TERM);
    assert_eq!(code, Some(0), "{log}");

    let server = home.start_server();

    let subscribe = json!({ "topic": "news", "position": position });
    let reply = server.connect_as_admin().request("subscribe", subscribe);
    assert_eq!(reply["payload"]["verdict"], "resumed", "{reply}");
    assert_eq!(reply["payload"]["replayed"], 1, "{reply}");
}

/// Opens a connection and sends the beginning of a request.
fn start_request(server: &TestServer, bytes: &str) -> TcpStream {
    let address = server.url.split_once("://").unwrap().1;
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(bytes.as_bytes()).unwrap();
    socket
}

#[test]
fn incomplete_requests_and_blocked_input_delay_no_stop() {
    let home = TestHome::new();
    let (server, client) = start_with_stubborn_program(&home);
    let admin = server.admin_api();
    publish_message_to_keep(&server);

    let session = || admin.get("/sessions").1["sessions"][0].clone();
    // Heads that end at every stage: no byte, an upgrade, a request.
    let heads = ["", "GET /ws HTTP/1.1\r\nHo", "POST /api/v1/login HTTP/1.1\r\nHo"];
    let mut open: Vec<_> = heads.iter().map(|head| start_request(&server, head)).collect();

    let partial_body = "POST /api/v1/login HTTP/1.1\r\nHost: a\r\n\
                        Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    open.push(start_request(&server, partial_body));
    let slow = server.admin_api().partial_post("/publish", &json!({ "topic": "news", "data": 1 }));

    // The program does not read, so this request is answered only at the stop.
    let before = session();
    let path = format!("/sessions/{}/input", before["id"].as_str().unwrap());
    let mut typing = admin.partial_post(&path, &json!({ "data": "x".repeat(900_000) }));
    typing.send_rest();
    let is_typed = || session()["last_activity_at"] != before["last_activity_at"];
    wait_until(STOP, "the input reaches the session", is_typed);

    let (code, log) = server.stop_within(STOP, Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("aborted at the deadline"), "{log}");
    assert_message_is_kept(&home);

    // Both requests are answered before their sockets are closed.
    let (status, body) = slow.response().expect("a response");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("overloaded"), "{body}");

    let (status, body) = typing.response().expect("a response");
    assert_eq!(status, 503, "{body}");

    drop((open, client));
}

#[test]
fn readiness_fails_before_the_listener_closes() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[server]\ndrain_delay = \"10m\"\n");
    let server = home.start_server();
    let admin = server.admin_api();

    assert_eq!(admin.status("/readyz"), 200);

    server.signal(Signal::TERM);
    wait_until(STOP, "readiness fails", || admin.status("/readyz") == 503);
    // The server still accepts new clients.
    assert_eq!(admin.status("/healthz"), 200);
    assert_eq!(server.connect_as_admin().request("ping", json!({}))["type"], "pong");

    let (code, log) = server.stop(Signal::TERM);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("stopped at once"), "{log}");
}

#[test]
fn the_server_stops_after_the_drain_delay() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[server]\ndrain_delay = \"100ms\"\n");

    let server = home.start_server();
    publish_message_to_keep(&server);

    let (code, log) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert_message_is_kept(&home);
}

#[test]
fn a_silent_tls_peer_delays_no_stop() {
    let home = TestHome::new();
    home.write("rejoin.toml", TLS_CONFIGURATION);
    write_certificate(&home);
    let server = TestServer::start(&home, home.rejoin(&["serve", "--config", "rejoin.toml"]));

    // No byte at all, and the start of a handshake.
    let silent = start_request(&server, "");
    let partial = start_request(&server, "\x16\x03\x01");
    let (code, log) = server.stop_within(STOP, Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("aborted at the deadline"), "{log}");

    drop((silent, partial));
}

#[test]
fn a_publish_acknowledged_during_a_stop_is_kept() {
    let home = TestHome::new();
    let server = home.start_server();

    // A large journal, so that the publish may arrive while it is written.
    for topic in 0..20 {
        server.admin_api().flood(&format!("flood-{topic}"));
    }
    let message = json!({ "topic": "news", "data": "late" });
    let slow = server.admin_api().partial_post("/publish", &message);
    let log = home.path("log");
    server.signal(Signal::TERM);
    // Completes the publish at the last moment: after the sockets, while the journal is written.
    let has_cut = || fs::read_to_string(&log).unwrap().contains("aborted at the deadline");
    let is_saving = || home.data_path("journal.draft").exists();
    let has_ended = || is_saving() || fs::read_to_string(&log).unwrap().contains(": stopped");
    wait_until(STOP, "the sockets are closed", || has_cut() || has_ended());
    let response = slow.try_complete();
    server.wait();

    let server = home.start_server();

    let messages = server.admin_api().published("news");
    match response {
        Some((200, body)) => assert_eq!(messages, ["late"], "{body}"),
        _ => assert!(messages.is_empty(), "{response:?}, {messages:?}"),
    }
}
