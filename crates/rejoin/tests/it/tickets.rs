//! Tickets: a crash revives no spent one and loses no unspent one, and a failing disk spends none.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{SmallDisk, TestClient, TestHome, TestServer, wait_until};

/// Time limit for what a test waits for.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Clients that use tickets at the same time.
const CLIENTS: usize = 4;
/// Tickets that a client keeps for the next process, less than a user may have.
const KEPT: usize = 20;

/// The server's answer to a WebSocket with a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    Refused,
    /// The server ended before it answered.
    None,
}

/// The tickets that a client requested.
#[derive(Default)]
struct Used {
    /// Issued and not used.
    kept: Vec<String>,
    /// Used, with the answer.
    used: Vec<(String, Answer)>,
}

/// Opens a WebSocket with a ticket.
fn open(url: &str, ticket: &str) -> Answer {
    let Ok(mut client) = TestClient::try_connect(&format!("{url}/ws?ticket={ticket}"), &[]) else {
        return Answer::None;
    };
    while let Some(message) = client.try_read() {
        let Message::Text(text) = message else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(message["type"], "auth_result", "{message}");
        return match message["payload"]["authenticated"].as_bool() {
            Some(true) => Answer::Accepted,
            _ => Answer::Refused,
        };
    }
    Answer::None
}

/// Returns the status of an upgrade with a ticket.
fn upgrade_status(server: &TestServer, ticket: &str) -> u16 {
    let head = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    server.admin_api().status_with(&format!("/ws?ticket={ticket}"), head)
}

fn issue(server: &TestServer) -> String {
    let (status, body) = server.admin_api().post("/tickets", &json!({}));
    assert_eq!(status, 201, "{body}");
    body["ticket"].as_str().unwrap().to_owned()
}

/// Uses and keeps tickets until the server is killed.
fn use_until_killed(server: &TestServer, token: &str, progress: &AtomicUsize) -> Used {
    let (api, mut result) = (server.api(token), Used::default());
    while let Some((status, body)) = api.try_post("/tickets", &json!({})) {
        assert_eq!(status, 201, "{body}");
        let ticket = body["ticket"].as_str().unwrap().to_owned();
        if result.kept.len() < KEPT && result.used.len() % 4 == 3 {
            result.kept.push(ticket);
            continue;
        }
        let answer = open(&server.url, &ticket);
        assert_ne!(answer, Answer::Refused, "a new ticket");
        result.used.push((ticket, answer));
        progress.fetch_add(1, Ordering::Relaxed);
    }
    result
}

#[test]
fn killed_servers_accept_each_ticket_once() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[limits]\nconnections_per_ip = { count = 0 }\n");
    let mut server = home.start_server();
    let tokens: Vec<_> = (0..CLIENTS).map(|it| home.token(&format!("user-{it}"), "1h")).collect();
    let mut checked = [0; 3];
    for round in 0..6 {
        let progress = AtomicUsize::new(0);
        let results = thread::scope(|scope| {
            let use_tickets = |token: &String| {
                let (server, progress, token) = (&server, &progress, token.clone());
                scope.spawn(move || use_until_killed(server, &token, progress))
            };
            let threads: Vec<_> = tokens.iter().map(use_tickets).collect();
            // Each round at another moment.
            wait_until(TIMEOUT, "tickets are used", || {
                progress.load(Ordering::Relaxed) >= 40 + 7 * round
            });
            server.signal(Signal::KILL);
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });

        drop(server);
        server = home.start_server();
        for ticket in results.iter().flat_map(|result| &result.kept) {
            assert_eq!(open(&server.url, ticket), Answer::Accepted, "an unused ticket is lost");
            assert_eq!(open(&server.url, ticket), Answer::Refused, "a spent ticket works");
            checked[0] += 1;
        }
        for (ticket, answer) in results.iter().flat_map(|result| &result.used) {
            let again = open(&server.url, ticket);
            if *answer == Answer::Accepted {
                assert_eq!(again, Answer::Refused, "a spent ticket works after the crash");
                checked[1] += 1;
            } else {
                // The crash came before the answer. It may be spent, and works at most once.
                assert_eq!(open(&server.url, ticket), Answer::Refused);
                checked[2] += 1;
            }
        }
    }
    assert!(checked[0] >= 20 && checked[1] >= 200, "{checked:?}");
}

#[test]
fn a_ticket_survives_a_stop_and_no_other_boot() {
    let home = TestHome::new();
    let server = home.start_server();
    let tickets: Vec<_> = (0..3).map(|_| issue(&server)).collect();
    server.stop(Signal::TERM);

    // The files as another boot, and a longer stop, leave them.
    let files = fs::read_dir(home.data_path("tickets")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 3);
    for (file, field, value) in
        [(&files[0], "boot", json!("another")), (&files[1], "expires", json!(1))]
    {
        let mut content: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        content[field] = value;
        fs::write(file, content.to_string()).unwrap();
    }

    let server = home.start_server();
    let answers = tickets.iter().map(|ticket| open(&server.url, ticket));
    assert_eq!(answers.filter(|answer| *answer == Answer::Accepted).count(), 1);
    assert_eq!(fs::read_dir(home.data_path("tickets")).unwrap().count(), 0);
}

#[test]
fn a_full_disk_refuses_new_tickets_and_takes_old_ones() {
    let home = TestHome::new();
    let Some(disk) = SmallDisk::mount(&home, "tickets", "64k") else { return };
    let server = home.start_server();
    let (first, second) = (issue(&server), issue(&server));

    disk.fill();
    let (status, refused) = server.admin_api().post("/tickets", &json!({}));
    assert_eq!((status, &refused["code"]), (503, &json!("overloaded")), "{refused}");
    server.wait_for_log("a ticket cannot be issued");
    assert_eq!(open(&server.url, &first), Answer::Accepted);
    disk.empty();
    let third = issue(&server);

    // A ticket that cannot be spent on the disk is not accepted, and not lost.
    disk.remount("ro");
    assert_eq!(upgrade_status(&server, &second), 503);
    server.wait_for_log("a ticket cannot be spent");
    disk.remount("rw");
    for ticket in [second, third] {
        assert_eq!(open(&server.url, &ticket), Answer::Accepted);
        assert_eq!(open(&server.url, &ticket), Answer::Refused);
    }
}

#[test]
fn unusable_tickets_stop_the_start_with_one_line() {
    let home = TestHome::new();
    home.start_server().stop(Signal::TERM);
    fs::remove_dir(home.data_path("tickets")).unwrap();
    fs::write(home.data_path("tickets"), "").unwrap();
    let error = home.error_of(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(error.starts_with("cannot read or write tickets in /"), "{error}");
}
