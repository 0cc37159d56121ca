//! Test doubles for everything around the server: its home, its process and its clients.

pub(crate) mod api_client;
pub(crate) mod browser;
pub(crate) mod certificate;
mod client;
pub(crate) mod frame_client;
mod home;
mod inflate;
mod process;
pub(crate) mod proxy;
mod server;
mod small_disk;

use std::{
    thread,
    time::{Duration, Instant},
};

pub(crate) use client::TestClient;
pub(crate) use home::{TestHome, error_line};
pub(crate) use process::TestProcess;
pub(crate) use server::TestServer;
pub(crate) use small_disk::SmallDisk;

/// A webhook secret for tests.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_dGhpcnR5LXR3byBieXRlcyB0aGF0IGFyZSByYW5kb20=";

/// A position of another epoch: a subscriber gets a gap and then all that the topic retains.
pub(crate) const STALE_POSITION: &str = "0.0";

/// Repeats a check until it returns `true`.
///
/// # Panics
/// After `limit`, with the description.
#[track_caller]
pub(crate) fn wait_until(limit: Duration, description: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !check() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {description}");
        // No sleep: most checks hold within microseconds, and some are requests that take time.
        thread::yield_now();
    }
}
