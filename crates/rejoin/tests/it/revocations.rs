//! Revocations: a clock that jumps, and a slow disk.

use std::{
    fs::{self, File},
    io::Read,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use crate::support::TestHome;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Returns the Unix time in milliseconds.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

#[test]
fn a_clock_that_jumps_ahead_ends_no_revocation() {
    let home = TestHome::new();
    // The first start creates the secret that signs the token.
    drop(home.start_server());
    let token = home.token("bob", "1h");

    // The file as it is after the clock jumped ahead: `until` has passed, but `left_ms` of the
    // server's running time have not.
    let (revoked_at, until) = (now_ms() + 1000, now_ms() - 10 * DAY_MS);
    let entry = |left_ms: u64| {
        let target = json!({ "user": "bob" });
        let entry = json!({
            "target": target, "revoked_at": revoked_at, "until": until, "left_ms": left_ms
        });
        json!({ "version": 1, "revocations": [entry] }).to_string()
    };

    let file = home.data_path("revocations.json");
    fs::write(&file, entry(30 * DAY_MS)).unwrap();
    let server = home.start_server();
    assert_eq!(server.api(&token).get("/me").0, 401);

    // The next change of the list keeps the revocation in the file.
    let (status, body) = server.admin_api().post("/revocations", &json!({ "user": "eve" }));
    assert_eq!(status, 201, "{body}");
    assert!(fs::read_to_string(&file).unwrap().contains("bob"));

    drop(server);

    fs::write(&file, entry(0)).unwrap();
    assert_eq!(home.start_server().api(&token).get("/me").0, 200);
}

#[test]
fn a_slow_disk_delays_no_disconnect() {
    let home = TestHome::new();
    let server = home.start_server();
    let client = server.frame_client(&home.token("bob", "1h"), "laptop");
    // The server writes to this file and then renames it. A write to a FIFO waits for its reader.
    let draft = home.data_path("revocations.json.new");
    mknodat(CWD, &draft, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();

    thread::scope(|scope| {
        let revoking =
            scope.spawn(|| server.admin_api().post("/revocations", &json!({ "user": "bob" })));
        client.wait_until_released();
        assert!(!revoking.is_finished(), "the write does not wait");

        File::open(&draft).unwrap().read_to_end(&mut Vec::new()).unwrap();
        // A FIFO is no disk: the revocation is in effect, but not written.
        let (status, body) = revoking.join().unwrap();
        assert_eq!(status, 500, "{body}");
    });
}
