//! The doorkeeper.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::json;
use tokio_tungstenite::tungstenite::connect;

use crate::guestbook::Guest;

#[test]
fn the_doorkeeper_writes_down_who_comes_and_all_that_a_terminal_says() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorkeeper"));
    let mut child = command.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let (url, token) = (lines.next().unwrap(), lines.next().unwrap());
    let mut ann = Guest(connect(&url).unwrap().0);
    ann.ask("authenticate", json!({ "token": token }));
    assert_eq!(lines.next().unwrap(), "ann came");
    let answer = ann.ask("create_session", json!({ "kind": "terminal" }));
    assert_eq!(answer["type"], "ack", "{answer}");
    // Events and the calls of a session's handler come from two tasks.
    let mut two = [lines.next().unwrap(), lines.next().unwrap()];
    two.sort();
    assert_eq!(two, ["ann said 7 bytes", "ann started"], "with CR LF, from the first byte on");
    drop(ann);
    assert_eq!(lines.next().unwrap(), "ann has gone");
    child.kill().unwrap();
    child.wait().unwrap();
}
