//! Revocations and clocks.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::json;

use crate::support::Home;

const FILE: &str = ".local/share/rejoin/revocations.json";
const DAY: u64 = 24 * 60 * 60 * 1000;

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

#[test]
fn a_clock_that_jumped_ahead_ends_no_revocation() {
    let home = Home::new();
    // The secret is made at the first start.
    drop(home.serve());
    let token = home.token("bob", "1h");
    // As a server finds it whose clock is ahead: the end is past, but it has hardly run since.
    let (revoked_at, until) = (now() + 1000, now() - 10 * DAY);
    let entry = |left_ms: u64| {
        let target = json!({ "user": "bob" });
        let entry = json!({
            "target": target, "revoked_at": revoked_at, "until": until, "left_ms": left_ms
        });
        json!({ "version": 1, "revocations": [entry] }).to_string()
    };
    home.write(FILE, &entry(30 * DAY));
    let server = home.serve();
    assert_eq!(server.api(&token).get("/me").0, 401);
    // The next change writes it again.
    let (status, answer) = server.admin().post("/revocations", &json!({ "user": "eve" }));
    assert_eq!(status, 201, "{answer}");
    assert!(fs::read_to_string(home.path(FILE)).unwrap().contains("bob"));
    drop(server);

    home.write(FILE, &entry(0));
    assert_eq!(home.serve().api(&token).get("/me").0, 200);
}
