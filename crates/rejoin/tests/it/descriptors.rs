//! The server on a system with few file descriptors.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    thread,
    time::Duration,
};

use serde_json::json;

use crate::support::{TestHome, TestServer, error_line, wait_until};

/// Time limit for the server.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns `rejoin serve` under a limit of open files, such as `-Sn 256`.
fn serve_with_limit(home: &TestHome, limit: &str) -> Command {
    let mut command = home.program("sh");
    let serve = format!("ulimit {limit}; exec \"$0\" serve --listen 127.0.0.1:0");
    command.args(["-c", &serve, env!("CARGO_BIN_EXE_rejoin")]);
    command
}

/// Opens sockets that send nothing.
fn open_silent_sockets(server: &TestServer, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(server.address()).unwrap()).collect()
}

#[test]
fn a_low_soft_limit_is_raised_but_not_for_programs() {
    let home = TestHome::new();
    let profile =
        "[profiles.terminal]\ncommand = [\"sh\", \"-c\", \"sleep 0.1; ulimit -Sn >limit\"]\n";
    home.write("rejoin.toml", profile);
    let server = TestServer::start(&home, serve_with_limit(&home, "-Sn 256"));

    // More sockets than the soft limit and than `max_handshakes`.
    let silent = open_silent_sockets(&server, 1500);
    let admin = server.admin_api();
    let requests = thread::spawn({
        let admin = server.admin_api();
        move || (0..10).all(|_| admin.status("/healthz") == 200)
    });
    // Without evictions the health checks would wait 10 s for the silent sockets to time out.
    wait_until(TIMEOUT, "all requests are answered", || requests.is_finished());
    assert!(requests.join().unwrap());

    let (status, session) = admin.post("/sessions", &json!({}));
    assert_eq!(status, 201, "{session}");

    let limit = || std::fs::read_to_string(home.path("limit")).unwrap_or_default();
    wait_until(TIMEOUT, "the program writes its limit", || limit().ends_with('\n'));
    assert_eq!(limit().trim(), "256");

    drop(silent);
}

#[test]
fn limits_beyond_the_descriptors_are_refused() {
    let home = TestHome::new();

    let error = error_line(serve_with_limit(&home, "-n 600"));

    assert_eq!(
        error,
        "limits.max_connections (1000) and limits.max_handshakes (1024) need 3308 file \
         descriptors, but the system allows 600: lower them, or raise the hard limit \
         (`ulimit -Hn`, `LimitNOFILE=`)"
    );
}

#[test]
fn terminals_do_not_use_the_descriptors_of_sockets() {
    let home = TestHome::new();
    let limits = "[limits]\nmax_connections = 20\nmax_handshakes = 50\n";
    let profile = "[profiles.terminal]\ncommand = [\"sleep\", \"600\"]\n";
    home.write("rejoin.toml", &format!("{limits}{profile}"));

    // 416 descriptors are enough for ten terminals.
    let server = TestServer::start(&home, serve_with_limit(&home, "-n 416"));
    let admin = server.admin_api();

    let started = (0..20).map(|_| admin.post("/sessions", &json!({})).0);
    let started: Vec<_> = started.take_while(|status| *status == 201).collect();
    assert_eq!(started.len(), 10);

    let (status, body) = admin.post("/sessions", &json!({}));
    assert_eq!(status, 409, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("file descriptors"), "{body}");

    let silent = open_silent_sockets(&server, 500);
    for _ in 0..10 {
        assert_eq!(admin.status("/healthz"), 200);
    }
    assert_eq!(server.connect_as_admin().request("ping", json!({}))["type"], "pong");

    drop(silent);
}

#[test]
fn refused_sockets_that_stay_open_do_not_evict_others() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[limits]\nmax_connections = 20\nmax_handshakes = 50\n");
    // 288 of the descriptors are for sockets.
    let server = TestServer::start(&home, serve_with_limit(&home, "-n 416"));

    let mut slow = TcpStream::connect(server.address()).unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();

    // Each is refused by a shard, and its client does not close its side.
    let refused: Vec<_> = (0..400)
        .map(|_| {
            let mut socket = TcpStream::connect(server.address()).unwrap();
            let upgrade = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                           Upgrade: websocket\r\n\r\n";
            socket.write_all(upgrade.as_bytes()).unwrap();
            let mut status = [0; 10];
            socket.read_exact(&mut status).unwrap();
            assert_eq!(&status, b"HTTP/1.1 4");
            socket
        })
        .collect();

    slow.write_all(b"Host: localhost\r\n\r\n").unwrap();
    let mut status = [0; 12];
    slow.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    drop(refused);
}
