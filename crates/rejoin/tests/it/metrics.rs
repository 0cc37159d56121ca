//! The metrics of closed connections, refused connections, lost frames and broadcasts.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::json;

use crate::support::{
    TestHome, TestServer,
    api_client::curl,
    certificate::{TLS_CONFIGURATION, write_certificate},
    frame_client::{FrameClient, invalid_input},
    wait_until,
};

/// Time limit for a counter.
const TIMEOUT: Duration = Duration::from_secs(5);

fn start_server(home: &TestHome, limits: &str) -> TestServer {
    home.write("rejoin.toml", &format!("[limits]\n{limits}\n"));
    home.start_server()
}

fn assert_closed(mut client: FrameClient, code: u16) {
    assert_eq!(client.close_code(), code);
}

#[test]
fn closes_are_counted_by_their_code() {
    let home = TestHome::new();
    let server = start_server(&home, "heartbeat = \"1s\"");
    let admin = server.admin_api();

    let connect = || server.frame_client(server.admin_token(), "laptop");

    // Two clients that never answer a ping.
    let (one, other) = (connect(), connect());
    assert_closed(one, 4001);
    assert_closed(other, 4001);

    let client = connect();
    client.close();
    assert_closed(client, 1000);

    let client = connect();
    admin.delete(&format!("/connections/{}", client.id));
    assert_closed(client, 4504);

    let client = connect();
    client.send(&[invalid_input()]);
    assert_closed(client, 4505);

    for (code, count) in [(1000, 1), (4001, 2), (4504, 1), (4505, 1)] {
        let name = format!("rejoin_connections_closed_total{{code=\"{code}\"}}");
        wait_until(TIMEOUT, &format!("{name} {count}"), || admin.metric(&name) == count);
    }
}

#[test]
fn upgrades_above_connections_per_ip_are_counted() {
    let home = TestHome::new();
    let server = start_server(&home, "connections_per_ip = { count = 2 }");

    let connect = || server.try_frame_client(server.admin_token(), "laptop").err();
    let refusals: Vec<_> = (0..5).map(|_| connect()).collect();
    assert_eq!(refusals, [None, None, Some(429), Some(429), Some(429)]);

    let name = "rejoin_connections_refused_total{reason=\"connections_per_ip\"}";
    assert_eq!(server.admin_api().metric(name), 3);
}

#[test]
fn evicted_sockets_are_counted() {
    let home = TestHome::new();
    let server = start_server(&home, "max_handshakes = 2");

    // Two may be pending: each of the last two evicts the oldest.
    let mut sockets: Vec<_> =
        (0..4).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    for socket in &mut sockets[..2] {
        assert_eq!(socket.read(&mut [0]).unwrap(), 0, "the oldest sockets must be evicted");
    }

    let name = "rejoin_connections_refused_total{reason=\"evicted\"}";
    // The request for the metrics evicts a third socket.
    assert_eq!(server.admin_api().metric(name), 3);
}

#[test]
fn failed_tls_handshakes_are_counted() {
    let home = TestHome::new();
    home.write("rejoin.toml", TLS_CONFIGURATION);
    write_certificate(&home);
    let server = home.start_server();

    for _ in 0..2 {
        let mut socket = TcpStream::connect(server.address()).unwrap();
        // A handshake record with an invalid body.
        socket.write_all(&[0x16, 3, 1, 0, 4, 0xff, 0xff, 0xff, 0xff]).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    }

    let name = "rejoin_connections_refused_total{reason=\"handshake\"} 2";
    let mut metrics = String::new();
    wait_until(TIMEOUT, name, || {
        metrics = curl(&home, &server, &["--insecure"], "/metrics").1;
        metrics.lines().any(|line| line == name)
    });
}

#[test]
fn frames_missed_by_a_blocked_reader_are_counted_when_lost() {
    let home = TestHome::new();
    let server = start_server(&home, "[topics.flood]\nretain = { frames = 4 }");

    let mut client = server.frame_client(server.admin_token(), "laptop");
    client.block(&server, "flood");
    let name = "rejoin_frames_dropped_total{reason=\"retention\"}";
    let admin = server.admin_api();

    wait_until(TIMEOUT, "frames are lost", || admin.metric(name) > 0);
    let lost = admin.metric(name);

    // With a full ring, each new frame evicts one that the reader has not read.
    for _ in 0..3 {
        admin.publish("flood", &json!("x".repeat(60_000)));
    }
    wait_until(TIMEOUT, "the new frames are lost", || admin.metric(name) == lost + 3);

    // The gap that the reader receives at last is not counted again.
    let gap = client.wait_for(|message| message["type"] == "gap").unwrap();
    assert_eq!(gap["payload"]["missed"], lost + 3, "{gap}");
    assert_eq!(admin.metric(name), lost + 3);
}

#[test]
fn a_slow_broadcast_is_logged_and_measured() {
    let home = TestHome::new();
    let server = start_server(&home, "max_message_bytes = \"16 MiB\"");

    let token = server.admin_token();
    let headers = format!(
        "Authorization: Bearer {token}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
    );
    let mut client = server.open_socket_with("/ws?device_id=laptop", &headers).unwrap();
    assert_eq!(client.request("subscribe", json!({ "topic": "slow" }))["type"], "ack");

    // 12 MB that compress badly: this takes longer than the threshold of 100 ms.
    let words: String =
        (0..1_500_000_u32).map(|n| format!("{:08x}", n.wrapping_mul(0x9e37_79b9))).collect();
    server.admin_api().publish("slow", &words.into());

    server.wait_for_log("slow broadcast");
    let text = server.admin_api().metrics();
    let longest = text.lines().find_map(|line| line.strip_prefix("rejoin_broadcast_max_seconds "));
    assert!(longest.unwrap().parse::<f64>().unwrap() > 0.1, "{longest:?}");
}
