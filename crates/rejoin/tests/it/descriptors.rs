//! A system with few file descriptors.

use std::{net::TcpStream, process::Command, thread, time::Duration};

use serde_json::json;

use crate::support::{Home, Server, complaint, until};

/// Limit for the server's answer while it makes room.
const PATIENCE: Duration = Duration::from_secs(30);

/// `rejoin serve` behind a limit of open files, such as `-Sn 256`.
fn limited(home: &Home, limit: &str) -> Command {
    let mut command = home.program("sh");
    let serve = format!("ulimit {limit}; exec \"$0\" serve --listen 127.0.0.1:0");
    command.args(["-c", &serve, env!("CARGO_BIN_EXE_rejoin")]);
    command
}

/// Sockets that say nothing.
fn silent(server: &Server, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(server.address()).unwrap()).collect()
}

#[test]
fn a_low_soft_limit_is_raised_and_programs_get_it_back() {
    let home = Home::new();
    let profile =
        "[profiles.terminal]\ncommand = [\"sh\", \"-c\", \"sleep 0.1; ulimit -Sn >limit\"]\n";
    home.write("rejoin.toml", profile);
    let server = Server::start(&home, limited(&home, "-Sn 256"));
    // More than the soft limit, and more than may be pending.
    let silent = silent(&server, 1500);
    let admin = server.admin();
    let asking = thread::spawn({
        let admin = server.admin();
        move || (0..10).all(|_| admin.status("/healthz") == 200)
    });
    // Without room for more, these would be closed after 10 s, a part of them at a time.
    until(PATIENCE, "answers", || asking.is_finished());
    assert!(asking.join().unwrap());
    let (status, session) = admin.post("/sessions", &json!({}));
    assert_eq!(status, 201, "{session}");
    let limit = || std::fs::read_to_string(home.path("limit")).unwrap_or_default();
    until(PATIENCE, "the program's limit", || limit().ends_with('\n'));
    assert_eq!(limit().trim(), "256");
    drop(silent);
}

#[test]
fn a_configuration_that_does_not_fit_is_refused() {
    let home = Home::new();
    let complaint = complaint(limited(&home, "-n 600"));
    assert_eq!(
        complaint,
        "limits.max_connections (1000) and limits.max_handshakes (1024) need 3308 file \
         descriptors, but the system allows 600: lower them, or raise the hard limit \
         (`ulimit -Hn`, `LimitNOFILE=`)"
    );
}

#[test]
fn terminals_leave_sockets_their_descriptors() {
    let home = Home::new();
    let limits = "[limits]\nmax_connections = 20\nmax_handshakes = 50\n";
    let profile = "[profiles.terminal]\ncommand = [\"sleep\", \"600\"]\n";
    home.write("rejoin.toml", &format!("{limits}{profile}"));
    // Room for ten terminals.
    let server = Server::start(&home, limited(&home, "-n 416"));
    let admin = server.admin();
    let started = (0..20).map(|_| admin.post("/sessions", &json!({})).0);
    let started: Vec<_> = started.take_while(|status| *status == 201).collect();
    assert_eq!(started.len(), 10);
    let (status, answer) = admin.post("/sessions", &json!({}));
    assert_eq!(status, 409, "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("file descriptors"), "{answer}");
    let silent = silent(&server, 500);
    for _ in 0..10 {
        assert_eq!(admin.status("/healthz"), 200);
    }
    assert_eq!(server.log_in().ask("ping", json!({}))["type"], "pong");
    drop(silent);
}
