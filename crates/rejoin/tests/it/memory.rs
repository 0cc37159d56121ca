//! The memory that one user can make the server use.

use std::{fmt::Write, fs, path::Path, time::Duration};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{TestHome, wait_until};

#[test]
fn random_devices_take_little_memory_and_no_foreign_streams() {
    const EMITS: usize = 1200;
    const BYTES: usize = 60_000;

    let home = TestHome::new();
    let limits = "max_topics = 300\nmax_retained_bytes_per_user = \"4MiB\"\n";
    home.write("rejoin.toml", &format!("[limits]\n{limits}"));
    let server = home.start_server();
    let (ann, bob) = (server.api(&home.token("ann", "1h")), server.api(&home.token("bob", "1h")));

    let event = json!({ "data": "x".repeat(BYTES) });

    let before = server.resident_bytes();
    // Each emit names another device, whose stream the server creates.
    for device in 0..EMITS {
        let (status, body) = ann.post(&format!("/users/ann/devices/d{device}/emit"), &event);
        assert!(status == 200 || body["code"] == "overloaded", "{status} {body}");
    }

    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < EMITS * BYTES / 2, "{grown} bytes");

    // The streams of one user leave room for those of another.
    for device in 0..100 {
        let event = json!({ "data": 1 });
        let (status, body) = bob.post(&format!("/users/bob/devices/d{device}/emit"), &event);
        assert_eq!(status, 200, "{body}");
    }
}

#[test]
fn responses_cached_for_retries_take_little_memory() {
    const REQUESTS: usize = 1500;
    const BYTES: usize = 60_000;

    let home = TestHome::new();
    let server = home.start_server();

    let ann = server.api(&home.token("ann", "1h"));
    let invalid = json!({ "signal": "x".repeat(BYTES) });

    let before = server.resident_bytes();
    // Each refusal is cached under its key. An error that quoted the request would fill the memory.
    for number in 0..REQUESTS {
        let path = "/sessions/none/signal";
        let (status, body) = ann.post_with_key(path, &invalid, &number.to_string());
        assert_eq!(status, 400, "{body}");
        assert!(body.len() < 1024, "{} bytes", body.len());
    }

    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < REQUESTS * BYTES / 2, "{grown} bytes");
}

#[test]
fn kept_screens_are_read_piece_by_piece_at_the_start() {
    const SESSIONS: usize = 12;

    let home = TestHome::new();
    let scrollback = "[sessions]\nscrollback_bytes = \"8MiB\"\n";
    let script = "cat lines; exec sleep 1000";
    let profile = format!("[profiles.terminal]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
    home.write("rejoin.toml", &format!("{scrollback}{profile}"));
    // Each cell has another colour, so that the kept screen is as large as the memory.
    let mut lines = String::new();
    for cell in 0..300_000 {
        write!(lines, "\x1b[38;5;{}mx{}", cell % 256, ["", "\n"][usize::from(cell % 80 == 79)])
            .unwrap();
    }
    home.write("lines", &(lines + "end"));

    let server = home.start_server();
    let mut client = server.connect_as_admin();
    let created = (0..SESSIONS).map(|_| client.create_session("terminal"));
    let ids: Vec<_> = created.map(|created| created["payload"]["session"]["id"].clone()).collect();
    let api = server.admin_api();
    for id in &ids {
        let path = format!("/sessions/{}/screen", id.as_str().unwrap());
        wait_until(Duration::from_secs(60), "all is printed", || api.text(&path).ends_with("end"));
    }
    let (code, log) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    let kept = home.data_path("terminals").join(ids[0].as_str().unwrap()).join("screen");
    let kept_bytes = fs::metadata(kept).unwrap().len();

    // All at once they would take their size in addition to the screens themselves.
    let server = home.start_server();
    let (resident, peak) = server.memory_mib();
    let all = kept_bytes * SESSIONS as u64 / 1024 / 1024;
    assert!(peak - resident < all / 2, "{resident} MiB, peak {peak} MiB; {all} MiB kept");
}

#[test]
fn terminals_of_a_user_take_bounded_disk_space() {
    let home = TestHome::new();
    let limits = "[limits]\nmax_disk_bytes_per_user = \"3MiB\"\n[sessions]\nlog_bytes = \"1MiB\"\n";
    let script = "yes 0123456789 | head -c 4000000; printf end; exec sleep 1000";
    let profile = format!("[profiles.terminal]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
    home.write("rejoin.toml", &format!("{limits}{profile}"));
    let server = home.start_server();
    let api = server.admin_api();
    let create = || api.post("/sessions", &json!({ "kind": "terminal", "profile": "terminal" }));

    let ids: Vec<_> = (0..3).map(|_| create().1["id"].as_str().unwrap().to_owned()).collect();
    for id in &ids {
        let path = format!("/sessions/{id}/screen");
        wait_until(Duration::from_secs(60), "all is printed", || api.text(&path).ends_with("end"));
    }
    let (status, refused) = create();
    assert_eq!((status, &refused["code"]), (409, &json!("start_failed")), "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("disk space"), "{refused}");
    let bytes = disk_bytes(&home.data_path("terminals"));
    assert!(bytes < 3 * 1024 * 1024 + 64 * 1024, "{bytes} bytes");

    // Another user is not affected, and a close makes room, also after a crash.
    let bob = server.api(&home.token("bob", "1h"));
    let body = json!({ "kind": "terminal", "profile": "terminal" });
    assert_eq!(bob.post("/sessions", &body).0, 201);
    server.stop(Signal::KILL);
    let server = home.start_server();
    let api = server.admin_api();
    assert_eq!(api.post("/sessions", &body).1["code"], "start_failed");
    assert_eq!(api.delete(&format!("/sessions/{}", ids[0])), 204);
    wait_until(Duration::from_secs(60), "there is room", || api.post("/sessions", &body).0 == 201);
}

/// Returns the size of all files in a directory.
fn disk_bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().flatten();
    let sizes = entries.map(|entry| match entry.metadata().unwrap() {
        metadata if metadata.is_dir() => disk_bytes(&entry.path()),
        metadata => metadata.len(),
    });
    sizes.sum()
}
