//! Failures: a server that cannot start prints one line, a failed request gets the reason.

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use rustix::process::Signal;

use crate::support::{TestHome, TestProcess, TestServer, error_line, wait_until};

#[test]
fn an_address_in_use_is_reported() {
    let home = TestHome::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let error = home.error_of(&["serve", "--listen", &address]);

    let expected = format!("cannot listen on {address}: Address already in use");
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn a_short_secret_is_reported() {
    let home = TestHome::new();
    home.write("key", "too short\n");
    home.write("rejoin.toml", "[auth]\nhs256_secret_file = \"~/key\"\n");

    let path = home.path("key");
    let expected = format!("{}: an HS256 secret must be at least 32 bytes, not 9", path.display());
    assert_eq!(home.error_of(&["serve"]), expected);
    assert_eq!(home.error_of(&["token", "--user", "ann"]).matches(&expected).count(), 1);
}

#[test]
fn a_missing_secret_is_reported() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[auth]\nhs256_secret_file = \"~/key\"\n");

    let error = home.error_of(&["serve"]);
    let expected = format!("cannot read {}: No such file", home.path("key").display());
    assert!(error.starts_with(&expected), "{error}");

    home.write("rejoin.toml", "");
    let error = home.error_of(&["token", "--user", "ann"]);
    let expected = "cannot sign a token: start the server once to create its secret; cannot read ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_full_disk_is_reported_and_leaves_no_partial_secret() {
    let home = TestHome::new();
    // A limit of 0 bytes per file fails like a full disk. Ignored, SIGXFSZ becomes an error.
    let serve = "trap '' XFSZ; ulimit -f 0; exec \"$0\" serve --listen 127.0.0.1:0";
    let mut command = home.program("sh");
    command.args(["-c", serve, env!("CARGO_BIN_EXE_rejoin")]);

    let error = error_line(command);

    let expected = format!("cannot write {}: File too large", home.data_path("secret").display());
    assert!(error.starts_with(&expected), "{error}");
    let files = fs::read_dir(home.data_path("")).unwrap().map(|it| it.unwrap().file_name());
    assert_eq!(files.collect::<Vec<_>>(), ["lock"]);
}

#[test]
fn an_unusable_data_directory_is_reported() {
    let home = TestHome::new();
    home.write("file", "");

    let error = home.error_of(&["serve", "--data-dir", "file/data"]);
    assert!(error.starts_with("cannot create the data directory file/data: "), "{error}");
}

#[test]
fn a_failed_start_of_a_profile_is_explained() {
    let home = TestHome::new();
    home.write(
        "rejoin.toml",
        r#"
[profiles.gone]
command = ["no-such-program"]
[profiles.hinted]
command = ["no-such-agent"]
install_hint = "ask ann for it"
[profiles.unset]
command = ["$AGENT"]
[profiles.nowhere]
command = ["sh"]
cwd = "~/nowhere"
"#,
    );
    let server = home.start_server();
    let mut client = server.connect_as_admin();
    for (profile, reason) in [
        ("gone", "`no-such-program`"),
        ("hinted", "`no-such-agent`"),
        ("hinted", "ask ann for it"),
        ("claude", "install it with `npm install -g @anthropic-ai/claude-code`"),
        ("claude", "`profiles.claude.command`"),
        ("unset", "`$AGENT`"),
        ("nowhere", &home.path("nowhere").display().to_string()),
    ] {
        let reply = client.create_session(profile);
        assert_eq!(reply["payload"]["code"], "start_failed", "{reply}");
        let message = reply["payload"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("`{profile}`")), "{message}");
        assert!(message.contains(reason), "{message}");
    }

    let reply = client.create_session("other");
    assert_eq!(reply["payload"]["code"], "unknown_profile", "{reply}");

    let known = reply["payload"]["message"].as_str().unwrap();
    assert!(
        known.contains("`claude`, `gone`, `hinted`, `nowhere`, `terminal`, `unset`"),
        "{known}"
    );

    let reply = client.create_session("terminal");
    assert_eq!(reply["type"], "ack", "the server must stay usable: {reply}");
}

#[test]
fn a_server_without_log_in_warns_at_its_start() {
    let home = TestHome::new();
    let mut command = home.rejoin(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("REJOIN_AUTH_REQUIRED", "false");
    let server = TestServer::start(&home, command);

    assert_eq!(server.connect().request("ping", serde_json::json!({}))["type"], "pong");

    let (_, log) = server.stop(Signal::TERM);
    assert!(log.contains("auth.required is false"), "{log}");
}

#[test]
fn a_server_whose_standard_output_is_closed_serves() {
    let home = TestHome::new();
    // Nothing reports the port, so it is chosen here.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let command = home.rejoin(&["serve", "--listen", &address.to_string()]);
    let _server = TestProcess::start_with_output(command, writer.into());

    let mut socket = None;
    wait_until(Duration::from_secs(30), "the server listens", || {
        socket = TcpStream::connect(address).ok();
        socket.is_some()
    });

    let mut socket = socket.unwrap();
    socket.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.0 200");
}

#[test]
fn a_second_server_on_a_data_directory_is_refused() {
    let home = TestHome::new();
    let server = home.start_server();
    // The refused one reads nothing that the other may be changing.
    fs::write(home.data_path("revocations.json"), "incomplete").unwrap();

    let error = home.error_of(&["serve", "--listen", "127.0.0.1:0"]);
    let expected = format!("another server ({}, process {}) uses", server.url, server.pid());
    assert!(error.contains(&expected), "{error}");

    // A killed server holds no lock.
    server.stop(Signal::KILL);
    fs::remove_file(home.data_path("revocations.json")).unwrap();
    home.start_server();
}
