//! Keepers of earlier versions of the wire, replayed against the present server.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{Read, Write},
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::Path,
    thread,
};

use rejoin_keeper::wire::{Decoder, Request};
use rejoin_protocol::binary::{BinaryHeader, BinaryKind};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::TestHome;

/// The exchange of a keeper of version 1 with its server: a start at 80 × 24, a change to
/// 100 × 30, the input `keys`, and the exit with code 7. Never change it.
const VERSION_1: &str = include_str!("../recordings/keeper-v1.json");
const SESSION: &str = "recorded";

/// Writes the directory of a terminal whose keeper is this process. Returns its lock.
fn write_terminal(directory: &Path) -> File {
    let mut private = DirBuilder::new();
    private.recursive(true).mode(0o700).create(directory.join("log")).unwrap();
    let record = json!({
        "id": SESSION, "owner": "ann", "profile": "terminal", "name": null,
        "created_at": 1, "epoch": 1, "size": [80, 24],
    });
    fs::write(directory.join("session.json"), record.to_string()).unwrap();

    let lock = File::create(directory.join("lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    lock
}

/// Plays the keeper's side, and compares the server's requests with the recorded ones.
fn play(listener: &UnixListener, recording: &str) {
    let (mut stream, _) = listener.accept().unwrap();
    let (mut recorded, mut received) = (Decoder::default(), Decoder::default());
    let steps: Vec<Value> = serde_json::from_str(recording).unwrap();
    for step in steps {
        let bytes = step["bytes"].as_str().unwrap().as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = bytes.chunks(2).map(byte).collect();
        if step["from"] == "keeper" {
            stream.write_all(&bytes).unwrap();
            continue;
        }

        recorded.receive(&bytes);
        while let Some(request) = recorded.decode::<Request>().unwrap() {
            assert_eq!(next_request(&mut stream, &mut received), request);
        }
    }
    // A connection that the keeper closes before the server would lose the last report.
    let _ = stream.read(&mut [0]);
}

fn next_request(stream: &mut UnixStream, decoder: &mut Decoder) -> Request {
    let mut buffer = [0; 4096];
    loop {
        if let Some(request) = decoder.decode().unwrap() {
            return request;
        }
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the server closed the connection");
        decoder.receive(&buffer[..length]);
    }
}

#[test]
fn a_keeper_of_wire_version_1_serves_this_server() {
    let home = TestHome::new();
    let directory = home.data_path("terminals").join(SESSION);
    let lock = write_terminal(&directory);
    let socket = directory.join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(socket, Permissions::from_mode(0o600)).unwrap();
    home.write("rejoin.toml", "[profiles.terminal]\ncommand = [\"cat\"]\n");

    thread::scope(|scope| {
        let keeper = scope.spawn(|| play(&listener, VERSION_1));
        let server = home.start_server();
        let mut client = server.connect_as_admin();
        let attach = json!({ "session": SESSION, "cols": 100, "rows": 30, "position": "1.0" });
        let attached = client.request("attach", attach);
        assert_eq!(attached["payload"]["verdict"], "resumed", "{attached}");

        client.send("input", json!({ "session": SESSION, "data": "keys" }));
        let (mut output, mut exit, mut answer) = (Vec::new(), Value::Null, Value::Null);
        while exit.is_null() || answer.is_null() {
            match client.read() {
                Message::Binary(bytes) => {
                    let (head, bytes) = BinaryHeader::read(&bytes).unwrap();
                    // The server draws the screen again after the change of size.
                    if head.kind == BinaryKind::Output {
                        output.extend_from_slice(bytes);
                    }
                }
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if !message["payload"]["exit"].is_null() {
                        exit = message["payload"]["exit"].clone();
                    }
                    if message["reply_to"] == "input" {
                        answer = message["type"].clone();
                    }
                }
                _ => {}
            }
        }
        assert_eq!(String::from_utf8_lossy(&output), "ready\r\nkeys\r\nend");
        assert_eq!(exit, json!({ "code": 7, "signal": null }));
        assert_eq!(answer, "ack");

        keeper.join().unwrap();
        drop(lock);
    });
}
