//! What `/metrics` counts of connections that end, and of those that are refused.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{
    api::curl,
    certificate::{CONFIGURATION, certify},
    support::{
        Home, Server,
        hostile::{Hostile, broken_input},
        until,
    },
};

/// Limit for a count.
const PATIENCE: Duration = Duration::from_secs(5);

fn serve(home: &Home, limits: &str) -> Server {
    home.write("rejoin.toml", &format!("[limits]\n{limits}\n"));
    home.serve()
}

fn is_closed(mut client: Hostile, code: u16) {
    assert_eq!(client.close_code(), code);
}

#[test]
fn closes_are_counted_by_their_code() {
    let home = Home::new();
    let server = serve(&home, "heartbeat = \"1s\"");
    let admin = server.admin();
    let connect = || server.hostile(server.login_token(), "laptop");
    let (one, other) = (connect(), connect());
    is_closed(one, 4001);
    is_closed(other, 4001);
    let client = connect();
    client.close();
    is_closed(client, 1000);
    let client = connect();
    admin.delete(&format!("/connections/{}", client.id));
    is_closed(client, 4504);
    let client = connect();
    client.send(&[broken_input()]);
    is_closed(client, 4505);
    for (code, count) in [(1000, 1), (4001, 2), (4504, 1), (4505, 1)] {
        let name = format!("rejoin_connections_closed_total{{code=\"{code}\"}}");
        until(PATIENCE, &format!("{name} {count}"), || admin.metric(&name) == count);
    }
}

#[test]
fn upgrades_beyond_connections_per_ip_are_counted() {
    let home = Home::new();
    let server = serve(&home, "connections_per_ip = { count = 2 }");
    let connect = || server.upgrade(server.login_token(), "laptop").err();
    let answers: Vec<_> = (0..5).map(|_| connect()).collect();
    assert_eq!(answers, [None, None, Some(429), Some(429), Some(429)]);
    let name = "rejoin_connections_refused_total{reason=\"connections_per_ip\"}";
    assert_eq!(server.admin().metric(name), 3);
}

#[test]
fn sockets_that_make_room_for_newer_ones_are_counted() {
    let home = Home::new();
    let server = serve(&home, "max_handshakes = 2");
    let mut sockets: Vec<_> =
        (0..4).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    for socket in &mut sockets[..2] {
        assert_eq!(socket.read(&mut [0]).unwrap(), 0, "the oldest sockets make room");
    }
    let name = "rejoin_connections_refused_total{reason=\"evicted\"}";
    // The request for the metrics takes the place of another socket.
    assert_eq!(server.admin().metric(name), 3);
}

#[test]
fn failed_tls_handshakes_are_counted() {
    let home = Home::new();
    home.write("rejoin.toml", CONFIGURATION);
    certify(&home);
    let server = home.serve();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(server.address()).unwrap();
        // A handshake record whose body is no message of TLS.
        socket.write_all(&[0x16, 3, 1, 0, 4, 0xff, 0xff, 0xff, 0xff]).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    }
    let name = "rejoin_connections_refused_total{reason=\"handshake\"} 2";
    let mut metrics = String::new();
    until(PATIENCE, name, || {
        metrics = curl(&home, &server, &["--insecure"], "/metrics").1;
        metrics.lines().any(|line| line == name)
    });
}

#[test]
fn frames_that_a_stuck_reader_misses_are_counted_when_they_are_lost() {
    let home = Home::new();
    let server = serve(&home, "[topics.flood]\nretain = { frames = 4 }");
    let mut client = server.hostile(server.login_token(), "laptop");
    client.block(&server, "flood");
    let name = "rejoin_frames_dropped_total{reason=\"retention\"}";
    let admin = server.admin();
    until(PATIENCE, "frames are lost", || admin.metric(name) > 0);
    let lost = admin.metric(name);
    for _ in 0..3 {
        admin.publish("flood", &serde_json::json!("x".repeat(60_000)));
    }
    until(PATIENCE, "more is lost", || admin.metric(name) == lost + 3);
    // The gap that the reader is told at last is not counted again.
    let gap = client.until(|message| message["type"] == "gap").unwrap();
    assert_eq!(gap["payload"]["missed"], lost + 3, "{gap}");
    assert_eq!(admin.metric(name), lost + 3);
}

#[test]
fn a_slow_broadcast_is_logged_and_is_the_longest_of_the_metrics() {
    let home = Home::new();
    let server = serve(&home, "max_message_bytes = \"16 MiB\"");
    let mut client = server
        .open_with(
            "/ws?device_id=laptop",
            server.login_token(),
            "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        )
        .unwrap();
    assert_eq!(client.ask("subscribe", serde_json::json!({ "topic": "slow" }))["type"], "ack");
    // To compress so many different words takes longer than the bound of 100 ms.
    let words: String =
        (0..1_500_000_u32).map(|n| format!("{:08x}", n.wrapping_mul(0x9e37_79b9))).collect();
    server.admin().publish("slow", &words.into());
    server.until_logged("slow broadcast");
    let text = server.admin().metrics();
    let longest = text.lines().find_map(|line| line.strip_prefix("rejoin_broadcast_max_seconds "));
    assert!(longest.unwrap().parse::<f64>().unwrap() > 0.1, "{longest:?}");
}
