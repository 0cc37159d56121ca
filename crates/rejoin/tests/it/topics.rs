//! `rejoin publish` and `rejoin subscribe`.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    proxy::Proxy,
    support::{Home, Running, Server},
};

/// A position of no topic's life: whoever comes with it hears that something may be missing,
/// and gets all that is left.
const STALE: &str = "0.0";

/// Starts a subscriber and waits until it reads.
fn subscriber(mut command: Command) -> Running {
    let mut subscriber = Running::start({
        command.stderr(Stdio::piped());
        command
    });
    hears_of_a_gap(&mut subscriber);
    subscriber
}

fn hears_of_a_gap(subscriber: &mut Running) {
    let lines = subscriber.stderr.as_mut().unwrap();
    let gap = "rejoin: messages may be gone: the topic has begun anew";
    assert!(lines.any(|line| line.unwrap() == gap), "the subscriber has ended");
}

#[test]
fn what_is_published_is_printed() {
    let home = Home::new();
    let server = home.serve();
    let token = home.prints(&["token", "--user", "ann"]);
    let with_token = ["--url", &server.url, "--token", token.trim_end()];
    let subscribe = ["subscribe", "news", "--position", STALE, "--count", "3"];
    let mut reader = subscriber(home.rejoin(&[&subscribe[..], &with_token].concat()));
    let publish = |data| home.prints(&[&["publish", "news", data][..], &with_token].concat());
    assert_eq!(publish(r#"{"a":1}"#), "");
    publish("just words");
    publish("7");
    let lines: Vec<_> = reader.lines().map(Result::unwrap).collect();
    assert_eq!(lines, [r#"{"a":1}"#, r#""just words""#, "7"]);
    assert_eq!(reader.wait(), Some(0));
}

#[test]
fn a_reader_goes_on_where_it_was() {
    let home = Home::new();
    let server = home.serve();
    let mut publisher = home
        .rejoin(&["publish", "news", "--url", &server.url])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    publisher.stdin.take().unwrap().write_all(b"1\n2\n3\n4\n").unwrap();
    assert!(publisher.wait().unwrap().success());
    let subscribe = |arguments: &[&str]| {
        home.prints(&[&["subscribe", "news", "--url", &server.url], arguments].concat())
    };
    let first = subscribe(&["--position", STALE, "--count", "2", "--full"]);
    let messages: Vec<Value> =
        first.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!([&messages[0]["data"], &messages[1]["data"]], [&json!(1), &json!(2)]);
    let position = messages[1]["position"].as_str().unwrap();
    assert_eq!(subscribe(&["--position", position, "--count", "2"]), "3\n4\n");
}

#[test]
fn a_subscriber_whose_line_is_cut_misses_nothing_and_repeats_nothing() {
    let home = Home::new();
    let server = home.serve();
    let proxy = Proxy::to(&server.url);
    let subscribe = ["subscribe", "news", "--position", STALE, "--count", "3"];
    let url = ["--url", &proxy.url];
    let mut reader = subscriber(home.rejoin(&[&subscribe[..], &url].concat()));
    let publish = |data| home.prints(&["publish", "news", data, "--url", &server.url]);
    publish("1");
    assert_eq!(reader.lines().next().unwrap().unwrap(), "1");
    proxy.cut();
    publish("2");
    publish("3");
    let lines: Vec<_> = reader.lines().map(Result::unwrap).collect();
    assert_eq!(lines, ["2", "3"]);
    assert_eq!(reader.wait(), Some(0));
}

#[test]
fn a_subscriber_outlives_its_server() {
    let home = Home::new();
    let server = home.serve();
    let url = server.url.clone();
    let subscribe = ["subscribe", "news", "--position", STALE, "--count", "1", "--url", &url];
    let mut reader = subscriber(home.rejoin(&subscribe));
    server.stop(Signal::KILL);
    let address = url.strip_prefix("http://").unwrap();
    let _server = Server::start(&home, home.rejoin(&["serve", "--listen", address]));
    hears_of_a_gap(&mut reader);
    home.prints(&["publish", "news", "back", "--url", &url]);
    assert_eq!(reader.lines().next().unwrap().unwrap(), r#""back""#);
    assert_eq!(reader.wait(), Some(0));
}

#[test]
fn a_subscriber_whose_output_nobody_reads_ends_well() {
    let home = Home::new();
    let server = home.serve();
    let arguments = ["subscribe", "news", "--position", STALE, "--url", &server.url];
    let mut reader = subscriber(home.rejoin(&arguments));
    reader.stdout = None;
    home.prints(&["publish", "news", "unread", "--url", &server.url]);
    assert_eq!(reader.wait(), Some(0));
}

#[test]
fn what_a_command_cannot_do_is_said_once() {
    let home = Home::new();
    let server = home.serve();
    let url = ["--url", &server.url];
    let complains = |arguments: &[&str]| home.complains(&[arguments, &url].concat());
    assert_eq!(
        complains(&["subscribe", "news", "--position", "yesterday"]),
        "`position`: a position must be one that the server sent, such as `5f2c.41`"
    );
    let reserved = complains(&["publish", "@all", "1"]);
    assert!(reserved.contains("`@all`"), "{reserved}");
    home.write("caps.json", "{}");
    let token = home.prints(&["token", "--user", "bob", "--caps", "caps.json"]);
    assert_eq!(
        complains(&["publish", "news", "1", "--token", token.trim_end()]),
        "the token does not allow this with the topic `news`"
    );
    let complaint = home.complains(&["publish", "news", "1", "--url", "http://127.0.0.1:1"]);
    assert!(complaint.starts_with("cannot connect to http://127.0.0.1:1: "), "{complaint}");
    assert_eq!(complaint.matches("refused").count(), 1, "{complaint}");
    let complaint = home.complains(&["publish", "news", "1", "--url", "localhost:7400"]);
    assert_eq!(complaint, "\"localhost:7400\" is not a server; write http://HOST:PORT");
}
