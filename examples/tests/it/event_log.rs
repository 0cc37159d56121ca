//! Tests of the event log.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::json;
use tokio_tungstenite::tungstenite::connect;

use crate::guestbook::Guest;

#[test]
fn users_and_all_output_of_a_terminal_are_logged() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_event_log"));
    let mut child = command.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let (url, token) = (lines.next().unwrap(), lines.next().unwrap());
    let mut ann = Guest(connect(&url).unwrap().0);

    ann.request("authenticate", json!({ "token": token }));
    assert_eq!(lines.next().unwrap(), "ann is online");

    let reply = ann.request("create_session", json!({ "kind": "terminal" }));
    assert_eq!(reply["type"], "ack", "{reply}");
    // Two tasks call the event handler and the session's handler, so their order is open.
    let mut two = [lines.next().unwrap(), lines.next().unwrap()];
    two.sort();
    let expected = ["ann started a session", "ann's session printed 7 bytes"];
    assert_eq!(two, expected, "`hello` with CR LF, from the first byte on");

    drop(ann);
    assert_eq!(lines.next().unwrap(), "ann is offline");
    child.kill().unwrap();
    child.wait().unwrap();
}
