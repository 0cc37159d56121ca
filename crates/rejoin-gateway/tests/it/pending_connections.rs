//! Pending connections: their deadlines, their bound, and the limit of new WebSockets per address.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use rejoin_gateway::{GatewayConfig, Rate, TrustedProxies};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tokio_tungstenite::{connect_async, tungstenite};

use crate::support::TestServer;

async fn serve(configure: impl FnOnce(&mut GatewayConfig)) -> TestServer {
    TestServer::start_with(configure, |gateway| gateway).await
}

/// Reads until the server closes the socket. Returns the bytes.
async fn read_to_close(mut socket: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    rest
}

/// Sends a request whose response ends with `ok`, and reads the response.
async fn get_ok(socket: &mut TcpStream, request: &str) {
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"ok\n") {
        head.push(socket.read_u8().await.unwrap());
    }
}

const TIMEOUT: Duration = Duration::from_millis(300);

/// Starts a server with short deadlines.
async fn serve_briefly() -> TestServer {
    serve(|config| (config.header_timeout, config.body_timeout) = (TIMEOUT, TIMEOUT)).await
}

#[tokio::test]
async fn an_incomplete_request_head_is_closed_at_its_deadline() {
    for begin in ["", "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\n"] {
        let server = serve_briefly().await;
        let start = Instant::now();
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(begin.as_bytes()).await.unwrap();
        read_to_close(socket).await;

        assert!(start.elapsed() >= TIMEOUT, "the socket was closed before its deadline");
    }
}

#[tokio::test]
async fn an_idle_http_connection_is_closed_at_its_deadline() {
    let server = serve_briefly().await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    get_ok(&mut socket, request).await;
    get_ok(&mut socket, request).await;
    let start = Instant::now();
    read_to_close(socket).await;

    assert!(start.elapsed() >= TIMEOUT / 2, "the socket was closed before its deadline");
}

#[tokio::test]
async fn a_slow_request_body_is_dropped_at_its_deadline() {
    let server = serve_briefly().await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let (token, length) = (server.token("ann"), 100_000);
    let head = format!(
        "POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let start = Instant::now();
    let (mut read, mut write) = socket.split();
    let send_slowly = async {
        let mut tick = tokio::time::interval(TIMEOUT / 20);
        while write.write_all(b" ").await.is_ok() {
            tick.tick().await;
        }
    };

    let mut answer = Vec::new();
    tokio::select! {
        _ = read.read_to_end(&mut answer) => {}
        () = send_slowly => {}
    }

    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert!(start.elapsed() >= TIMEOUT, "the socket was closed before its deadline");
}

#[tokio::test]
async fn a_socket_counts_once_towards_the_limit_of_sockets() {
    let server = serve(|config| config.max_sockets = 12).await;
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

    // Half of them in their first request, half on the general runtime.
    let mut sockets = Vec::new();
    for number in 0..12 {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        if number % 2 == 0 {
            get_ok(&mut socket, request).await;
        }
        sockets.push(socket);
    }

    for socket in &mut sockets {
        get_ok(socket, request).await;
    }
}

#[tokio::test]
async fn new_connections_evict_the_oldest_pending_ones() {
    let server = serve(|config| config.max_handshakes = NonZeroUsize::new(8).unwrap()).await;
    let mut early = server.log_in("ann").await;
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        waiting.push(socket);
    }

    let mut late = server.log_in("ann").await;
    for socket in waiting.drain(..43) {
        read_to_close(socket).await;
    }
    for client in [&mut early, &mut late] {
        assert_eq!(client.ask("ping", serde_json::json!({})).await["type"], "pong");
    }

    // The newest pending connections are still open.
    let mut last = waiting.pop().unwrap();
    last.write_all(b"Host: a\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(read_to_close(last).await.starts_with(b"HTTP/1.1 404"));
}

/// Requests an upgrade. Returns the status of the response.
async fn upgrade(server: &TestServer, headers: &[(&str, &str)]) -> u16 {
    match connect_async(server.request(headers)).await {
        Ok(_) => 101,
        Err(tungstenite::Error::Http(response)) => {
            let status = response.status().as_u16();
            if status == 429 {
                let seconds = response.headers()["retry-after"].to_str().unwrap();
                assert!((1..=31).contains(&seconds.parse().unwrap()), "{seconds}");
            }

            status
        }
        Err(error) => panic!("{error}"),
    }
}

fn allow_two_per_minute(config: &mut GatewayConfig) {
    let count = NonZeroU32::new(2).unwrap();
    config.connections_per_address = Some(Rate::new(count, Duration::from_secs(60)));
}

#[tokio::test]
async fn an_address_above_its_rate_of_websockets_must_wait() {
    let server = serve(allow_two_per_minute).await;
    for expected in [101, 101, 429, 429] {
        assert_eq!(upgrade(&server, &[]).await, expected);
    }
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    get_ok(&mut socket, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
}

#[tokio::test]
async fn a_forged_address_does_not_evade_the_limit() {
    let server = serve(allow_two_per_minute).await;
    for (index, expected) in [101, 101, 429].into_iter().enumerate() {
        let address = format!("203.0.113.{index}");
        let forwarded = format!("for={address}");
        let headers = [("x-forwarded-for", &*address), ("forwarded", &*forwarded)];
        assert_eq!(upgrade(&server, &headers).await, expected);
    }
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_have_separate_limits() {
    let server = serve(|config| {
        allow_two_per_minute(config);
        config.trusted_proxies = TrustedProxies::new(["127.0.0.0/8"]).unwrap();
    })
    .await;
    for address in ["203.0.113.1", "203.0.113.2", "6.6.6.6, 203.0.113.3"] {
        for expected in [101, 101, 429] {
            assert_eq!(upgrade(&server, &[("x-forwarded-for", address)]).await, expected);
        }
    }
}
