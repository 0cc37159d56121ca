//! The end of a server.

use std::{fs, io::Write, net::TcpStream, time::Duration};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    certificate::{self, certify},
    support::{Client, Home, Server, until},
};

/// Limit for a stop with clients that never read.
const STOP: Duration = Duration::from_secs(6);

/// A client that is attached to a program which has printed 420.
fn at_a_program(server: &Server, input: &str) -> Client {
    let mut client = server.log_in();
    let created = client.create("terminal");
    let session = created["payload"]["session"]["id"].as_str().expect("a session").to_owned();
    let attached = client.ask("attach", json!({ "session": session, "cols": 80, "rows": 24 }));
    assert_eq!(attached["type"], "attached", "{attached}");
    client.send("input", json!({ "session": session, "data": input }));
    while !String::from_utf8_lossy(&client.next().into_data()).contains("420") {}
    client
}

/// The same, with a program that reads nothing and does not want to go.
fn at_a_stubborn_program(home: &Home) -> (Server, Client) {
    let script = "trap '' HUP TERM; stty raw -echo; echo $((6 * 7))0; exec sleep 600";
    let limits = "[limits]\nmax_message_bytes = \"1MiB\"\n";
    let profile =
        format!("{limits}[profiles.terminal]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
    home.write("rejoin.toml", &profile);
    let server = home.serve();
    let client = at_a_program(&server, "");
    (server, client)
}

#[test]
fn a_signal_ends_the_server_well_and_the_clients_hear_of_it() {
    let home = Home::new();
    for signal in [Signal::TERM, Signal::INT] {
        let server = home.serve();
        let mut client = at_a_program(&server, "echo $((6 * 7))0\r");
        server.signal(signal);
        let closing = client.until(|message| message["type"] == "closing");
        assert_eq!(closing["payload"]["code"], 4000, "{closing}");
        assert_eq!(client.close_code(), 4000);
        let (code, log) = server.wait();
        assert_eq!(code, Some(0), "{log}");
        // The running shell has not kept it.
        assert!(!log.contains("cut off at the deadline"), "{log}");
        assert!(log.contains("stopping"), "{log}");
    }
}

#[test]
fn a_program_that_does_not_want_to_go_is_ended_before_the_deadline() {
    let home = Home::new();
    let (server, client) = at_a_stubborn_program(&home);
    server.signal(Signal::TERM);
    assert_eq!(client.close_code(), 4000);
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("cut off at the deadline"), "{log}");
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let home = Home::new();
    let (server, client) = at_a_stubborn_program(&home);
    server.signal(Signal::TERM);
    assert_eq!(client.close_code(), 4000);
    let (code, log) = server.stop(Signal::INT);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("stopped at once"), "{log}");
}

#[test]
fn a_client_that_does_not_answer_the_goodbye_is_not_waited_for() {
    let home = Home::new();
    let server = home.serve();
    let _client = at_a_program(&server, "echo $((6 * 7))0\r");
    let (code, log) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("cut off at the deadline"), "{log}");
}

#[test]
fn a_topic_goes_on_in_the_next_process_where_it_stopped() {
    let home = Home::new();
    let server = home.serve();
    let mut client = server.log_in();
    let publish = |client: &mut Client, data: u32, key: &str| {
        let answer = client.ask("publish", json!({ "topic": "news", "data": data, "key": key }));
        answer["payload"]["position"].as_str().expect("a position").to_owned()
    };
    let first = publish(&mut client, 1, "a");
    let second = publish(&mut client, 2, "b");
    let (code, log) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");

    let server = home.serve();
    let mut client = server.log_in();
    // A retry whose answer was lost is still harmless.
    assert_eq!(publish(&mut client, 2, "b"), second);
    let answer = client.ask("subscribe", json!({ "topic": "news", "position": first }));
    assert_eq!(answer["payload"]["verdict"], "resumed", "{answer}");
    assert_eq!(answer["payload"]["replayed"], 1, "{answer}");
    let message = client.until(|message| message["type"] == "message");
    assert_eq!(message["payload"]["data"], 2);
    assert_eq!(message["payload"]["position"], second);
    // By another connection: one's own message may come before its answer.
    let third = publish(&mut server.log_in(), 3, "c");
    let message = client.until(|message| message["type"] == "message");
    assert_eq!(message["payload"]["position"], third);
    // A crash leaves no checkpoint, and nobody goes on twice from the same one.
    server.signal(Signal::KILL);
    server.wait();
    let server = home.serve();
    let mut client = server.log_in();
    let answer = client.ask("subscribe", json!({ "topic": "news", "position": first }));
    assert_eq!(answer["payload"]["verdict"], "gap", "{answer}");
    assert_eq!(answer["payload"]["reason"], "epoch", "{answer}");
}

#[test]
fn a_damaged_checkpoint_stops_nobody() {
    let home = Home::new();
    let server = home.serve();
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
    home.write(".local/share/rejoin/checkpoint.json", "{ nothing");
    let server = home.serve();
    let answer = server.log_in().ask("subscribe", json!({ "topic": "news" }));
    assert_eq!(answer["payload"]["verdict"], "fresh", "{answer}");
    let (code, log) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("the checkpoint cannot be read"), "{log}");
}

#[test]
fn a_hundred_blocked_clients_do_not_delay_a_stop() {
    let home = Home::new();
    home.write("rejoin.toml", "[limits]\nconnections_per_ip = { count = 0 }\n");
    let server = home.serve();
    let mut publisher = server.log_in();
    let answer = publisher.ask("publish", json!({ "topic": "news", "data": 1 }));
    let position = answer["payload"]["position"].clone();
    publisher.ask("publish", json!({ "topic": "news", "data": 2 }));
    publisher.close();
    let mut clients: Vec<_> =
        (0..100).map(|_| server.hostile(server.login_token(), "laptop")).collect();
    for client in &mut clients {
        assert_eq!(client.ask("subscribe", json!({ "topic": "flood" }))["type"], "ack");
    }
    server.admin().flood("flood");

    let (code, log) = server.stop_within(STOP, Signal::TERM);
    assert_eq!(code, Some(0), "{log}");

    let server = home.serve();
    let answer = server.log_in().ask("subscribe", json!({ "topic": "news", "position": position }));
    assert_eq!(answer["payload"]["verdict"], "resumed", "{answer}");
    assert_eq!(answer["payload"]["replayed"], 1, "{answer}");
}

/// Opens a connection and sends the beginning of a request.
fn unfinished(server: &Server, bytes: &str) -> TcpStream {
    let address = server.url.split_once("://").unwrap().1;
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(bytes.as_bytes()).unwrap();
    socket
}

#[test]
fn unfinished_requests_and_a_silent_program_delay_no_stop() {
    let home = Home::new();
    let (server, client) = at_a_stubborn_program(&home);
    let admin = server.admin();
    let session = || admin.get("/sessions").1["sessions"][0].clone();
    let heads = ["", "GET /ws HTTP/1.1\r\nHo", "POST /api/v1/login HTTP/1.1\r\nHo"];
    let mut open: Vec<_> = heads.iter().map(|head| unfinished(&server, head)).collect();
    let trickled = "POST /api/v1/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                    Content-Length: 100\r\n\r\n{";
    open.push(unfinished(&server, trickled));
    let slow = server.admin().slow_post("/publish", &json!({ "topic": "news", "data": 1 }));
    // The program does not read: the answer to this one comes when the server stops.
    let before = session();
    let path = format!("/sessions/{}/input", before["id"].as_str().unwrap());
    let mut typing = admin.slow_post(&path, &json!({ "data": "x".repeat(900_000) }));
    typing.send_rest();
    let is_typed = || session()["last_activity_at"] != before["last_activity_at"];
    until(STOP, "the input is on its way", is_typed);

    let (code, log) = server.stop_within(STOP, Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("cut off at the deadline"), "{log}");
    assert!(home.path(".local/share/rejoin/checkpoint.json").exists());
    // It was answered before the socket was closed.
    let (status, answer) = slow.answer().expect("an answer");
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("overloaded"), "{answer}");
    let (status, answer) = typing.answer().expect("an answer");
    assert_eq!(status, 503, "{answer}");
    drop((open, client));
}

#[test]
fn readiness_fails_before_the_listener_closes() {
    let home = Home::new();
    home.write("rejoin.toml", "[server]\ndrain_delay = \"10m\"\n");
    let server = home.serve();
    let admin = server.admin();
    assert_eq!(admin.status("/readyz"), 200);
    server.signal(Signal::TERM);
    until(STOP, "readiness fails", || admin.status("/readyz") == 503);
    // All else goes on, also for new clients.
    assert_eq!(admin.status("/healthz"), 200);
    assert_eq!(server.log_in().ask("ping", json!({}))["type"], "pong");
    let (code, log) = server.stop(Signal::TERM);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("stopped at once"), "{log}");
}

#[test]
fn a_stop_follows_the_time_of_failing_readiness() {
    let home = Home::new();
    home.write("rejoin.toml", "[server]\ndrain_delay = \"100ms\"\n");
    let (code, log) = home.serve().stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(home.path(".local/share/rejoin/checkpoint.json").exists());
}

#[test]
fn a_silent_tls_peer_delays_no_stop() {
    let home = Home::new();
    home.write("rejoin.toml", certificate::CONFIGURATION);
    certify(&home);
    let server = Server::start(&home, home.rejoin(&["serve", "--config", "rejoin.toml"]));
    let silent = unfinished(&server, "");
    let half = unfinished(&server, "\x16\x03\x01");
    let (code, log) = server.stop_within(STOP, Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("cut off at the deadline"), "{log}");
    drop((silent, half));
}

#[test]
fn what_is_acknowledged_during_a_stop_is_there_after_it() {
    let home = Home::new();
    let server = home.serve();
    // A checkpoint that takes a while to write.
    for topic in 0..20 {
        server.admin().flood(&format!("flood-{topic}"));
    }
    let message = json!({ "topic": "news", "data": "late" });
    let slow = server.admin().slow_post("/publish", &message);
    let log = home.path("log");
    server.signal(Signal::TERM);
    let has_cut = || fs::read_to_string(&log).unwrap().contains("cut off at the deadline");
    let has_ended = || home.path(".local/share/rejoin/checkpoint.json").exists();
    until(4 * STOP, "the end of the sockets", || has_cut() || has_ended());
    let answer = slow.try_complete();
    server.wait();

    let server = home.serve();
    let messages = server.admin().published("news");
    match answer {
        Some((200, answer)) => assert_eq!(messages, ["late"], "{answer}"),
        _ => assert!(messages.is_empty(), "{answer:?}, {messages:?}"),
    }
}
