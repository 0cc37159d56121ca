//! Queries of programs: exactly one answer, with any number of viewers and after a crash.

use std::{fs, time::Duration};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{TestClient, TestHome, TestServer, wait_until};

/// Time limit for what a test waits for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Queries with their answers, in a terminal of 80 columns and 24 rows whose screen is empty.
///
/// A program that asks for the keyboard flags (`CSI ? u`) asks for the device attributes as well:
/// viewers have no such flags, so only the second query is answered.
const QUERIES: [(&str, &str); 13] = [
    ("\x1b[c", "\x1b[?62;22c"),
    ("\x1b[>c", "\x1b[>0;277;0c"),
    ("\x1b[5n", "\x1b[0n"),
    ("\x1b[6n", "\x1b[1;1R"),
    ("ab\x1b[?6n", "\x1b[?1;3R"),
    ("\x1b[?2026$p", "\x1b[?2026;2$y"),
    ("\x1b[?25$p", "\x1b[?25;1$y"),
    ("\x1b]10;?\x1b\\", "\x1b]10;rgb:ffff/ffff/ffff\x1b\\"),
    ("\x1b]11;?\x07", "\x1b]11;rgb:0000/0000/0000\x07"),
    ("\x1bP+q544e\x1b\\", "\x1bP0+r544e\x1b\\"),
    ("\x1bP$qr\x1b\\", "\x1bP1$r1;24r\x1b\\"),
    ("\x1b[18t", "\x1b[8;24;80t"),
    ("\x1b[?u\x1b[c", "\x1b[?62;22c"),
];
/// The text that a client types after the answers.
const END: &str = "typed";

/// Starts a server whose program asks all queries once `ask` exists, and executes `then` before it
/// writes what it reads to `answers`.
fn server(home: &TestHome, then: &str) -> TestServer {
    let queries: String = QUERIES.iter().map(|(query, _)| *query).collect();
    home.write("queries", &queries);
    let script = format!(
        "stty raw -echo; while [ ! -e ask ]; do sleep 0.01; done; cat queries; echo >asked; \
         {then} exec cat >answers"
    );
    let profile = format!("[profiles.terminal]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
    home.write("rejoin.toml", &profile);
    home.start_server()
}

fn attach(server: &TestServer, session: &str) -> TestClient {
    let mut client = server.connect_as_admin();
    let attached = client.request("attach", json!({ "session": session }));
    assert_eq!(attached["type"], "attached", "{attached}");
    client
}

/// Lets the program ask, and waits until the queries are printed.
fn ask(home: &TestHome) {
    home.write("ask", "");
    wait_until(TIMEOUT, "the program asks", || home.path("asked").exists());
}

/// Returns what the program has read.
fn answers(home: &TestHome) -> String {
    fs::read_to_string(home.path("answers")).unwrap_or_default()
}

fn expected() -> String {
    QUERIES.iter().map(|(_, answer)| *answer).collect()
}

/// Waits for the answers, then types, and checks that the program has read nothing else.
fn assert_answered_once(home: &TestHome, server: &TestServer, session: &str) {
    wait_until(TIMEOUT, "all queries are answered", || answers(home).len() >= expected().len());

    attach(server, session).request("input", json!({ "session": session, "data": END }));
    wait_until(TIMEOUT, "the typed text arrives", || answers(home).ends_with(END));
    assert_eq!(answers(home), expected() + END);
}

#[test]
fn each_query_is_answered_once_for_any_viewers() {
    for count in [0, 1, 5] {
        let home = TestHome::new();
        let server = server(&home, "");
        let session = server.create_terminal();
        let _viewers: Vec<_> = (0..count).map(|_| attach(&server, &session)).collect();

        ask(&home);
        assert_answered_once(&home, &server, &session);
    }
}

#[test]
fn a_query_during_a_crash_is_answered_after_it() {
    for count in [0, 1, 5] {
        let home = TestHome::new();
        let crashed = server(&home, "");
        let session = crashed.create_terminal();
        let viewers: Vec<_> = (0..count).map(|_| attach(&crashed, &session)).collect();

        // A stopped server reads nothing, so only the keeper has the queries.
        crashed.signal(Signal::STOP);
        ask(&home);
        assert_eq!(answers(&home), "");
        crashed.stop(Signal::KILL);
        drop(viewers);

        let server = home.start_server();
        assert_answered_once(&home, &server, &session);
    }
}

#[test]
fn an_answered_query_is_not_answered_after_a_crash() {
    let home = TestHome::new();
    let crashed = server(&home, "");
    let session = crashed.create_terminal();
    ask(&home);
    wait_until(TIMEOUT, "all queries are answered", || answers(&home) == expected());

    // Twice: the second server has the queries from the log as well.
    crashed.stop(Signal::KILL);
    home.start_server().stop(Signal::KILL);
    let server = home.start_server();
    assert_answered_once(&home, &server, &session);
}

#[test]
fn answers_that_a_program_reads_after_a_crash_come_once() {
    let home = TestHome::new();
    let crashed = server(&home, "while [ ! -e read ]; do sleep 0.01; done;");
    let session = crashed.create_terminal();
    ask(&home);
    crashed.stop(Signal::KILL);

    let server = home.start_server();
    home.write("read", "");
    assert_answered_once(&home, &server, &session);
}

#[test]
fn an_answer_behind_unread_input_survives_a_stop() {
    let home = TestHome::new();
    let stopped = server(&home, "while [ ! -e read ]; do sleep 0.01; done;");
    let session = stopped.create_terminal();
    let mut writer = attach(&stopped, &session);
    // More than a terminal holds: the answers wait behind it in the server.
    let paste = "x".repeat(16 * 1024);
    writer.send("input", json!({ "session": session, "data": paste }));
    assert_eq!(writer.request("ping", json!({}))["type"], "pong");
    ask(&home);
    // The queries contain this text.
    let screen = format!("/sessions/{session}/screen");
    wait_until(TIMEOUT, "the queries are interpreted", || {
        stopped.admin_api().text(&screen).contains("ab")
    });
    let (code, log) = stopped.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");

    let server = home.start_server();
    home.write("read", "");
    let end = paste.len() + expected().len();
    wait_until(TIMEOUT, "all queries are answered", || answers(&home).len() >= end);
    attach(&server, &session).request("input", json!({ "session": session, "data": END }));
    wait_until(TIMEOUT, "the typed text arrives", || answers(&home).ends_with(END));
    assert_eq!(answers(&home), paste + &expected() + END);
}
