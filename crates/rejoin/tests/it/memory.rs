//! The memory that one user can make the server use.

use serde_json::json;

use crate::support::TestHome;

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
