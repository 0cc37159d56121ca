//! `rejoin publish` and `rejoin subscribe`.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{STALE_POSITION, TestHome, TestProcess, TestServer, proxy::TestProxy};

/// Starts a subscriber at [`STALE_POSITION`] and waits until it has subscribed.
fn start_subscriber(mut command: Command) -> TestProcess {
    command.stderr(Stdio::piped());
    let mut subscriber = TestProcess::start(command);

    // The gap is reported after the subscribe: messages from now on are not missed.
    wait_for_gap(&mut subscriber);
    subscriber
}

/// Waits until the subscriber reports a gap, as it does after a subscribe at a stale position.
fn wait_for_gap(subscriber: &mut TestProcess) {
    let lines = subscriber.stderr.as_mut().unwrap();
    let gap = "rejoin: messages may be missing: the topic was restarted";
    assert!(lines.any(|line| line.unwrap() == gap), "the subscriber has ended");
}

#[test]
fn subscribe_prints_published_messages() {
    let home = TestHome::new();
    let server = home.start_server();
    let token = home.output_of(&["token", "--user", "ann"]);

    let with_token = ["--url", &server.url, "--token", token.trim_end()];
    let subscribe = ["subscribe", "news", "--position", STALE_POSITION, "--count", "3"];
    let mut reader = start_subscriber(home.rejoin(&[&subscribe[..], &with_token].concat()));
    let publish = |data| home.output_of(&[&["publish", "news", data][..], &with_token].concat());
    assert_eq!(publish(r#"{"a":1}"#), "");

    // Anything but JSON is a string.
    publish("just words");
    publish("7");
    let lines: Vec<_> = reader.lines().map(Result::unwrap).collect();
    assert_eq!(lines, [r#"{"a":1}"#, r#""just words""#, "7"]);
    assert_eq!(reader.wait(), Some(0));

    // The end of the count is not reported as a lost connection.
    let error = reader.stderr.as_mut().unwrap().next();
    assert!(error.is_none(), "{error:?}");
}

#[test]
fn subscribe_resumes_at_a_position() {
    let home = TestHome::new();
    let server = home.start_server();

    let mut publisher = home
        .rejoin(&["publish", "news", "--url", &server.url])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    publisher.stdin.take().unwrap().write_all(b"1\n2\n3\n4\n").unwrap();
    assert!(publisher.wait().unwrap().success());

    let subscribe = |arguments: &[&str]| {
        home.output_of(&[&["subscribe", "news", "--url", &server.url], arguments].concat())
    };
    let first = subscribe(&["--position", STALE_POSITION, "--count", "2", "--full"]);
    let messages: Vec<Value> =
        first.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!([&messages[0]["data"], &messages[1]["data"]], [&json!(1), &json!(2)]);

    let position = messages[1]["position"].as_str().unwrap();
    assert_eq!(subscribe(&["--position", position, "--count", "2"]), "3\n4\n");
}

#[test]
fn a_cut_connection_loses_and_repeats_no_message() {
    let home = TestHome::new();
    let server = home.start_server();

    let proxy = TestProxy::start(&server.url);
    let subscribe = ["subscribe", "news", "--position", STALE_POSITION, "--count", "3"];
    let url = ["--url", &proxy.url];

    let mut reader = start_subscriber(home.rejoin(&[&subscribe[..], &url].concat()));
    let publish = |data| home.output_of(&["publish", "news", data, "--url", &server.url]);
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
fn subscribe_survives_a_crash_of_the_server() {
    let home = TestHome::new();
    let server = home.start_server();
    let url = server.url.clone();

    let subscribe =
        ["subscribe", "news", "--position", STALE_POSITION, "--count", "1", "--url", &url];
    let mut reader = start_subscriber(home.rejoin(&subscribe));

    // The next server listens on the same port and has lost the topic.
    server.stop(Signal::KILL);
    let address = url.strip_prefix("http://").unwrap();
    let _server = TestServer::start(&home, home.rejoin(&["serve", "--listen", address]));
    wait_for_gap(&mut reader);
    home.output_of(&["publish", "news", "back", "--url", &url]);
    assert_eq!(reader.lines().next().unwrap().unwrap(), r#""back""#);
    assert_eq!(reader.wait(), Some(0));
}

#[test]
fn subscribe_succeeds_when_its_output_is_closed() {
    let home = TestHome::new();
    let server = home.start_server();

    let arguments = ["subscribe", "news", "--position", STALE_POSITION, "--url", &server.url];
    let mut reader = start_subscriber(home.rejoin(&arguments));
    reader.stdout = None;
    home.output_of(&["publish", "news", "unread", "--url", &server.url]);
    assert_eq!(reader.wait(), Some(0));
}

#[test]
fn commands_report_an_error_once() {
    let home = TestHome::new();
    let server = home.start_server();
    let url = ["--url", &server.url];

    let error_of = |arguments: &[&str]| home.error_of(&[arguments, &url].concat());
    let error = error_of(&["subscribe", "news", "--position", "yesterday"]);
    assert!(error.contains("position"), "{error}");
    let error = error_of(&["publish", "@all", "1"]);
    assert!(error.contains("`@all`"), "{error}");

    home.write("caps.json", "{}");
    let token = home.output_of(&["token", "--user", "bob", "--caps", "caps.json"]);
    let error = error_of(&["publish", "news", "1", "--token", token.trim_end()]);
    assert!(error.contains("token") && error.contains("`news`"), "{error}");

    let error = home.error_of(&["publish", "news", "1", "--url", "http://127.0.0.1:1"]);
    assert!(error.starts_with("cannot connect to http://127.0.0.1:1: "), "{error}");
    assert_eq!(error.matches("refused").count(), 1, "{error}");
    for url in ["localhost:7400", "https://example.org", "http://a b"] {
        let error = home.error_of(&["publish", "news", "1", "--url", url]);
        let expected = format!("{url:?} is not the URL of a server; write http://HOST:PORT");
        assert_eq!(error, expected);
    }
}
