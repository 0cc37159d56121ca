//! `fuzz terminal`: random output into terminals, while delays, memory and snapshots are measured.
//!
//! Viewers of other sizes attach meanwhile, some never read, and another user pings.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fastrand::Rng;
use hdrhistogram::Histogram;
use serde_json::json;

use crate::clock;
use crate::connection::Connection;
use crate::report::{self, mebibytes, print_line, quantile};
use crate::server::{Server, Users, profile};

pub(crate) mod keeper;
pub(crate) mod output;

/// The largest message of a snapshot.
const MAX_SNAPSHOT_BYTES: usize = 1024 * 1024 + rejoin_protocol::binary::MAX_HEADER_BYTES;
/// The history of one terminal, as the server is configured.
const SCROLLBACK_BYTES: u64 = 4 * 1024 * 1024;
/// Other memory of a session: two screens of 1,000 × 500 cells with their extras, snapshots that
/// viewers hold, the tail of its stream, and pending output.
const SESSION_BYTES: u64 = 40 * 1024 * 1024;
/// A delay of another user that no load of the machine explains.
const MAX_DELAY: Duration = Duration::from_secs(10);
const PING_PAUSE: Duration = Duration::from_millis(5);
const ATTACH_PAUSE: Duration = Duration::from_millis(20);
/// Viewers per session that do not read.
const STUCK_VIEWERS: usize = 6;
/// The largest size of a terminal.
const MAX_COLS: u32 = 1000;
const MAX_ROWS: u32 = 500;

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Duration in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Terminals that run in parallel
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    sessions: u64,
    /// The seed of a run to repeat
    #[arg(long)]
    seed: Option<u64>,
}

/// The largest values that viewers observed.
#[derive(Default)]
struct Worst {
    resident_bytes: u64,
    snapshot_bytes: usize,
    /// The number of snapshots.
    snapshots: u64,
}

/// Runs the fuzzer and prints the worst values.
///
/// # Errors
/// A bound was exceeded.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(|| clock::now() % 1_000_000);
    print_line(format_args!(
        "{} terminals for {} s, seed {seed} (repeat with --seed {seed})",
        options.sessions, options.seconds
    ));
    let server = Server::rejoin(&settings(options.sessions, seed)?)?;
    let base = server.memory()?.resident;

    let stop = AtomicBool::new(false);
    let (delays, worst) = thread::scope(|scope| {
        let delays = scope.spawn(|| ping(&server, &stop));
        let worst = view(&server, options, seed);
        stop.store(true, Ordering::Relaxed);
        (delays.join(), worst)
    });
    let (delays, worst) = (delays.ok().context("the pinging thread panicked")??, worst?);
    // The sessions share the growth of the process, so this is their mean.
    check(&delays, &worst, worst.resident_bytes.saturating_sub(base) / options.sessions)
}

fn check(delays: &Histogram<u64>, worst: &Worst, session_bytes: u64) -> anyhow::Result<()> {
    let Worst { snapshot_bytes, snapshots, .. } = worst;
    // 10 % for the allocator.
    let bound = (SCROLLBACK_BYTES + SESSION_BYTES) * 11 / 10;
    print_line(format_args!(
        "pings of another user: p50 {}, p99 {}, worst {}",
        quantile(delays, 0.5),
        quantile(delays, 0.99),
        quantile(delays, 1.0)
    ));
    print_line(format_args!("most memory per session: {}", mebibytes(session_bytes)));
    print_line(format_args!("largest snapshot of {snapshots}: {snapshot_bytes} bytes"));

    ensure!(
        session_bytes <= bound,
        "a session took {}, the bound is {}",
        mebibytes(session_bytes),
        mebibytes(bound)
    );
    ensure!(
        *snapshot_bytes <= MAX_SNAPSHOT_BYTES,
        "a snapshot has {snapshot_bytes} bytes, the bound is {MAX_SNAPSHOT_BYTES}"
    );
    let delay = Duration::from_nanos(delays.max());
    ensure!(delay < MAX_DELAY, "another user waited {delay:?} for a pong");
    ensure!(*snapshots > 0, "no snapshot was made");
    Ok(())
}

/// Returns settings with a profile for each terminal, whose program has a seed of its own.
fn settings(sessions: u64, seed: u64) -> anyhow::Result<String> {
    let profile = |number: u64| {
        let seed = (seed + number).to_string();
        profile(&format!("fuzz{number}"), &["fuzz-program", &seed])
    };
    let profiles: String = (0..sessions).map(profile).collect::<Result<_, _>>()?;
    Ok(format!("[sessions]\nscrollback_bytes = {SCROLLBACK_BYTES}\n{profiles}"))
}

/// Pings as another user until `stop` is set. Returns the delays of the pongs.
fn ping(server: &Server, stop: &AtomicBool) -> anyhow::Result<Histogram<u64>> {
    let mut delays = report::latencies()?;
    let token = server.tokens(Users::Distinct, 1)?.remove(0);
    let mut connection = Connection::open(&server.endpoint("/ws").with_token(&token))?;

    while !stop.load(Ordering::Relaxed) {
        let sent = clock::now();
        connection.request("ping", &json!({}))?;
        delays.saturating_record(clock::now() - sent);
        clock::pause(PING_PAUSE);
    }
    Ok(delays)
}

/// Attaches viewers of random sizes to random terminals.
fn view(server: &Server, options: &Options, seed: u64) -> anyhow::Result<Worst> {
    let mut random = Rng::with_seed(seed);
    let mut sessions = Vec::new();
    let mut creator = server.connect()?;
    for number in 0..options.sessions {
        sessions.push(creator.create_terminal(&format!("fuzz{number}"), (80, 24))?);
    }

    let mut worst = Worst::default();
    let mut stuck = VecDeque::new();
    let end = Instant::now() + Duration::from_secs(options.seconds);
    while Instant::now() < end {
        let session = &sessions[random.usize(..sessions.len())];
        // Half of the sizes are small: narrow terminals have the most rows of history.
        let [cols, rows] = match random.bool() {
            true => [random.u32(2..22), random.u32(1..21)],
            false => [random.u32(2..=MAX_COLS), random.u32(1..=MAX_ROWS)],
        };
        let mut viewer = server.connect()?;
        // Each writer resizes the terminal, so the attach also tests reflow.
        let attach = json!({"session": session, "role": "writer", "cols": cols, "rows": rows});
        viewer.request("attach", &attach)?;

        if random.u8(..4) > 0 {
            worst.snapshot_bytes = worst.snapshot_bytes.max(viewer.wait_for_snapshot()?);
            worst.snapshots += 1;
        } else {
            // Kept open without reading, so that the server must bound what it holds for them.
            stuck.push_back(viewer);
        }
        if stuck.len() > STUCK_VIEWERS * sessions.len() {
            stuck.pop_front();
        }
        worst.resident_bytes = worst.resident_bytes.max(server.memory()?.resident);
        clock::pause(ATTACH_PAUSE);
    }
    Ok(worst)
}
