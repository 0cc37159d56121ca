//! Pending connections, which are no WebSockets or not yet: they are few, and have little time.

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

async fn ended(mut socket: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    rest
}

async fn answered(socket: &mut TcpStream, request: &str) {
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"ok\n") {
        head.push(socket.read_u8().await.unwrap());
    }
}

const TIMEOUT: Duration = Duration::from_millis(300);

async fn serve_briefly() -> TestServer {
    serve(|config| (config.header_timeout, config.body_timeout) = (TIMEOUT, TIMEOUT)).await
}

#[tokio::test]
async fn a_request_head_that_is_not_finished_in_time_is_dropped() {
    for begin in ["", "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\n"] {
        let server = serve_briefly().await;
        let begun = Instant::now();
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(begin.as_bytes()).await.unwrap();
        ended(socket).await;
        assert!(begun.elapsed() >= TIMEOUT, "it had time");
    }
}

#[tokio::test]
async fn a_connection_without_another_request_is_closed_in_time() {
    let server = serve_briefly().await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    answered(&mut socket, request).await;
    answered(&mut socket, request).await;
    let begun = Instant::now();
    ended(socket).await;
    assert!(begun.elapsed() >= TIMEOUT / 2, "it had time to ask again");
}

#[tokio::test]
async fn a_request_body_that_trickles_is_dropped_in_time() {
    let server = serve_briefly().await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let (token, length) = (server.token("ann"), 100_000);
    let head = format!(
        "POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let begun = Instant::now();
    let (mut read, mut write) = socket.split();
    let trickle = async {
        let mut tick = tokio::time::interval(TIMEOUT / 20);
        while write.write_all(b" ").await.is_ok() {
            tick.tick().await;
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        _ = read.read_to_end(&mut answer) => {}
        () = trickle => {}
    }
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert!(begun.elapsed() >= TIMEOUT, "it had time");
}

#[tokio::test]
async fn the_oldest_pending_connections_make_room_for_new_ones() {
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
        ended(socket).await;
    }
    for client in [&mut early, &mut late] {
        assert_eq!(client.ask("ping", serde_json::json!({})).await["type"], "pong");
    }
    // Those who came last still have their time.
    let mut last = waiting.pop().unwrap();
    last.write_all(b"Host: a\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(ended(last).await.starts_with(b"HTTP/1.1 404"));
}

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

fn two_in_a_minute(config: &mut GatewayConfig) {
    let count = NonZeroU32::new(2).unwrap();
    config.connections_per_address = Some(Rate::new(count, Duration::from_secs(60)));
}

#[tokio::test]
async fn an_address_makes_so_many_websockets_and_then_waits() {
    let server = serve(two_in_a_minute).await;
    for expected in [101, 101, 429, 429] {
        assert_eq!(upgrade(&server, &[]).await, expected);
    }
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    answered(&mut socket, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
}

#[tokio::test]
async fn a_forged_address_opens_nothing() {
    let server = serve(two_in_a_minute).await;
    for (index, expected) in [101, 101, 429].into_iter().enumerate() {
        let address = format!("203.0.113.{index}");
        let forwarded = format!("for={address}");
        let headers = [("x-forwarded-for", &*address), ("forwarded", &*forwarded)];
        assert_eq!(upgrade(&server, &headers).await, expected);
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_share() {
    let server = serve(|config| {
        two_in_a_minute(config);
        config.trusted_proxies = TrustedProxies::new(["127.0.0.0/8"]).unwrap();
    })
    .await;
    for address in ["203.0.113.1", "203.0.113.2", "6.6.6.6, 203.0.113.3"] {
        for expected in [101, 101, 429] {
            assert_eq!(upgrade(&server, &[("x-forwarded-for", address)]).await, expected);
        }
    }
}
