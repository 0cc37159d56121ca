//! Heartbeats of any length: responsive clients stay, silent clients are removed.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Home, Server, until};

/// Limit for the removal after two heartbeats. The promise is one second.
const REMOVAL: Duration = Duration::from_secs(3);

/// Attempts in which the clients get the processor in time. A loaded machine may deny it to them
/// for longer than a heartbeat.
const ATTEMPTS: usize = 50;

fn serve(home: &Home, heartbeat: Duration) -> Server {
    let heartbeat = heartbeat.as_millis();
    home.write("rejoin.toml", &format!("[limits]\nheartbeat = \"{heartbeat}ms\"\n"));
    home.serve()
}

/// Panics unless a client that answers pings, and one that only sends, outlast so many pings.
fn keeps_responsive_clients(heartbeat: Duration, pings: usize) {
    let home = Home::new();
    let server = serve(&home, heartbeat);
    let is_kept = (0..ATTEMPTS).any(|_| outlast(&server, heartbeat, pings));
    assert!(is_kept, "the machine never gave the clients the time to answer");
}

/// Whether both clients outlast so many pings. Panics if one is closed although it was in time.
fn outlast(server: &Server, heartbeat: Duration, pings: usize) -> bool {
    let connect = |device| server.hostile(server.login_token(), device);
    // While the second client connects, the first one answers nothing.
    let (mut turn, mut were_late) = (Instant::now(), false);
    let (mut answering, mut sending) = (connect("answering"), connect("sending"));
    while answering.pings < pings {
        let kept = answering.read_for(heartbeat / 4);
        let kept = kept.and_then(|()| sending.try_ask("ping", json!({})));
        were_late |= turn.elapsed() > heartbeat / 2;
        turn = Instant::now();
        match kept {
            Ok(answer) => assert_eq!(answer["type"], "pong", "{answer}"),
            Err(_) if were_late => return false,
            Err(closed) => panic!("{closed}"),
        }
    }
    true
}

/// Panics unless a client that neither reads nor answers is closed with 4001, and removed.
fn removes_silent_client(heartbeat: Duration) {
    let home = Home::new();
    let server = serve(&home, heartbeat);
    let mut silent = server.hostile(server.login_token(), "silent");
    let admin = server.admin();
    until(2 * heartbeat + REMOVAL, "the silent client leaves the list", || {
        !admin.connections().contains(&silent.id)
    });
    assert_eq!(silent.close_code(), 4001);
}

#[test]
fn responsive_clients_outlast_ten_heartbeats_of_100_ms() {
    keeps_responsive_clients(Duration::from_millis(100), 10);
}

#[test]
fn responsive_clients_outlast_ten_heartbeats_of_500_ms() {
    keeps_responsive_clients(Duration::from_millis(500), 10);
}

#[test]
fn responsive_clients_outlast_ten_heartbeats_of_a_second() {
    keeps_responsive_clients(Duration::from_secs(1), 10);
}

#[test]
fn responsive_clients_outlast_three_heartbeats_of_two_seconds() {
    keeps_responsive_clients(Duration::from_secs(2), 3);
}

#[test]
fn a_silent_client_is_removed_after_two_heartbeats_of_100_ms() {
    removes_silent_client(Duration::from_millis(100));
}

#[test]
fn a_silent_client_is_removed_after_two_heartbeats_of_500_ms() {
    removes_silent_client(Duration::from_millis(500));
}

#[test]
fn a_silent_client_is_removed_after_two_heartbeats_of_a_second() {
    removes_silent_client(Duration::from_secs(1));
}

#[test]
fn a_silent_client_is_removed_after_two_heartbeats_of_two_seconds() {
    removes_silent_client(Duration::from_secs(2));
}

#[test]
fn a_heartbeat_below_100_ms_is_refused() {
    let home = Home::new();
    for heartbeat in ["1ms", "99ms"] {
        home.write("rejoin.toml", &format!("[limits]\nheartbeat = \"{heartbeat}\"\n"));
        for command in [["config", "check"], ["serve", "--listen=127.0.0.1:0"]] {
            let complaint = home.complains(&command);
            assert!(complaint.contains("rejoin.toml:2: "), "{complaint}");
            assert!(complaint.contains("heartbeat"), "no key: {complaint}");
            assert!(complaint.contains("100ms"), "not what is allowed: {complaint}");
        }
    }
    home.write("rejoin.toml", "[limits]\nheartbeat = \"100ms\"\n");
    home.prints(&["config", "check"]);
}
