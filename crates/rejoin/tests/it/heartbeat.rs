//! Heartbeats: responsive clients stay, silent clients are removed.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{TestHome, TestServer, wait_until};

/// Time limit for the removal after two heartbeats. The server promises one second.
const REMOVAL: Duration = Duration::from_secs(3);

/// Attempts until the clients get the processor in time. On a loaded machine they may wait for it
/// longer than a heartbeat.
const ATTEMPTS: usize = 50;

fn start_server(home: &TestHome, heartbeat: Duration) -> TestServer {
    let heartbeat = heartbeat.as_millis();
    home.write("rejoin.toml", &format!("[limits]\nheartbeat = \"{heartbeat}ms\"\n"));
    home.start_server()
}

/// Checks that a client that answers pings and one that only sends stay for `pings` pings.
fn assert_responsive_clients_stay(heartbeat: Duration, pings: usize) {
    let home = TestHome::new();
    let server = start_server(&home, heartbeat);

    let have_stayed = (0..ATTEMPTS).any(|_| stay_for(&server, heartbeat, pings));
    assert!(have_stayed, "the machine is too slow: the clients never answered in time");
}

/// Returns `true` if both clients stay for `pings` pings, `false` if they were too slow to answer.
///
/// # Panics
/// If the server closes a client that was in time.
fn stay_for(server: &TestServer, heartbeat: Duration, pings: usize) -> bool {
    let connect = |device| server.frame_client(server.admin_token(), device);
    // Started before the connects: the first client answers nothing while the second connects.
    let (mut turn, mut were_late) = (Instant::now(), false);
    let (mut answering, mut sending) = (connect("answering"), connect("sending"));

    while answering.pings < pings {
        let kept = answering.read_for(heartbeat / 4);
        let kept = kept.and_then(|()| sending.try_request("ping", json!({})));
        were_late |= turn.elapsed() > heartbeat / 2;
        turn = Instant::now();

        match kept {
            Ok(reply) => assert_eq!(reply["type"], "pong", "{reply}"),
            Err(_) if were_late => return false,
            Err(closed) => panic!("{closed}"),
        }
    }
    true
}

/// Checks that a client that neither reads nor answers is removed and closed with 4001.
fn assert_silent_client_is_removed(heartbeat: Duration) {
    let home = TestHome::new();
    let server = start_server(&home, heartbeat);

    let mut silent = server.frame_client(server.admin_token(), "silent");
    let admin = server.admin_api();

    wait_until(2 * heartbeat + REMOVAL, "the silent client leaves the list", || {
        !admin.connections().contains(&silent.id)
    });
    assert_eq!(silent.close_code(), 4001);
}

#[test]
fn responsive_clients_outlast_ten_heartbeats_of_100_ms() {
    assert_responsive_clients_stay(Duration::from_millis(100), 10);
}

#[test]
fn responsive_clients_outlast_ten_heartbeats_of_500_ms() {
    assert_responsive_clients_stay(Duration::from_millis(500), 10);
}

#[test]
fn responsive_clients_outlast_ten_heartbeats_of_a_second() {
    assert_responsive_clients_stay(Duration::from_secs(1), 10);
}

#[test]
fn responsive_clients_outlast_three_heartbeats_of_two_seconds() {
    assert_responsive_clients_stay(Duration::from_secs(2), 3);
}

#[test]
fn two_missed_heartbeats_of_100_ms_remove_a_client() {
    assert_silent_client_is_removed(Duration::from_millis(100));
}

#[test]
fn two_missed_heartbeats_of_500_ms_remove_a_client() {
    assert_silent_client_is_removed(Duration::from_millis(500));
}

#[test]
fn two_missed_heartbeats_of_a_second_remove_a_client() {
    assert_silent_client_is_removed(Duration::from_secs(1));
}

#[test]
fn two_missed_heartbeats_of_two_seconds_remove_a_client() {
    assert_silent_client_is_removed(Duration::from_secs(2));
}

#[test]
fn a_heartbeat_below_100_ms_is_refused() {
    let home = TestHome::new();

    for heartbeat in ["1ms", "99ms"] {
        home.write("rejoin.toml", &format!("[limits]\nheartbeat = \"{heartbeat}\"\n"));
        for command in [["config", "check"], ["serve", "--listen=127.0.0.1:0"]] {
            let error = home.error_of(&command);
            assert!(error.contains("rejoin.toml:2: "), "{error}");
            assert!(error.contains("heartbeat"), "{error}");
            assert!(error.contains("at least \"100ms\""), "{error}");
        }
    }

    home.write("rejoin.toml", "[limits]\nheartbeat = \"100ms\"\n");

    home.output_of(&["config", "check"]);
}
