//! `fuzz terminal`: random and grammar-made output into terminals, with a stopwatch and a scale.
//!
//! Meanwhile viewers come with other sizes, some never read, and another user asks for a pong.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::client::Connection;
use crate::clock;
use crate::frame;
use crate::random::Random;
use crate::report::{self, mebibytes, quantile, say};
use crate::server::{Server, Users};

pub(crate) mod output;

/// The kind of a snapshot among binary messages.
const SNAPSHOT: u8 = 3;
/// The most that a snapshot may have, with the head of its message.
const MAX_SNAPSHOT_BYTES: usize = 1024 * 1024 + 32;
/// The history that each terminal of the server keeps.
const SCROLLBACK_BYTES: u64 = 4 * 1024 * 1024;
/// All else that a session may have: two screens of 1,000 × 500 cells and their extras, snapshots
/// that viewers hold, the tail of its stream, and output that waits.
const SESSION_BYTES: u64 = 40 * 1024 * 1024;
/// A wait of another user that no load of the machine explains.
const ABSURD_WAIT: Duration = Duration::from_secs(10);
/// Between two pings of the other user.
const PING_PAUSE: Duration = Duration::from_millis(5);
/// Between two visits of a viewer.
const VISIT_PAUSE: Duration = Duration::from_millis(20);
/// Viewers that do not read, for each session.
const STUCK_VIEWERS: usize = 6;
/// The largest terminal.
const MAX_COLS: u64 = 1000;
const MAX_ROWS: u64 = 500;

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Seconds
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Terminals at the same time
    #[arg(long, default_value_t = 3)]
    sessions: u64,
    /// The seed of a run that is repeated
    #[arg(long)]
    seed: Option<u64>,
}

/// The worst values.
struct Worst {
    waits: Histogram<u64>,
    session_bytes: u64,
    snapshot_bytes: usize,
    snapshots: u64,
}

/// Runs, prints what was worst, and fails if a bound was broken.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(|| clock::now() % 1_000_000);
    say(format_args!(
        "{} terminals for {} s, seed {seed} (again: --seed {seed})",
        options.sessions, options.seconds
    ));
    let server = Server::rejoin(&configuration(options.sessions, seed)?)?;
    let base = server.memory()?.resident;
    let is_over = AtomicBool::new(false);
    let (waits, visits) = thread::scope(|scope| {
        let waits = scope.spawn(|| ping(&server, &is_over));
        let visits = visit(&server, options, seed);
        is_over.store(true, Ordering::Relaxed);
        (waits.join(), visits)
    });
    let waits = waits.ok().context("the pinging thread panicked")??;
    let Visits { most_memory, snapshot_bytes, snapshots } = visits?;
    let session_bytes = most_memory.saturating_sub(base) / options.sessions.max(1);
    report(&Worst { waits, session_bytes, snapshot_bytes, snapshots })
}

fn report(worst: &Worst) -> anyhow::Result<()> {
    say(format_args!(
        "pings of another user: p50 {}, p99 {}, worst {}",
        quantile(&worst.waits, 0.5),
        quantile(&worst.waits, 0.99),
        quantile(&worst.waits, 1.0)
    ));
    say(format_args!("worst memory for each session: {}", mebibytes(worst.session_bytes)));
    say(format_args!("worst snapshot of {}: {} bytes", worst.snapshots, worst.snapshot_bytes));
    let bound = (SCROLLBACK_BYTES + SESSION_BYTES) * 11 / 10;
    ensure!(
        worst.session_bytes <= bound,
        "a session took {}, the bound is {}",
        mebibytes(worst.session_bytes),
        mebibytes(bound)
    );
    ensure!(worst.snapshot_bytes <= MAX_SNAPSHOT_BYTES, "a snapshot broke its bound");
    let wait = Duration::from_nanos(worst.waits.max());
    ensure!(wait < ABSURD_WAIT, "another user waited {wait:?} for a pong");
    ensure!(worst.snapshots > 0, "no snapshot was made");
    Ok(())
}

/// A profile for each terminal, whose program makes its output from its own seed.
fn configuration(sessions: u64, seed: u64) -> anyhow::Result<String> {
    let program = std::env::current_exe()?;
    let program = program.to_str().context("a path that is not UTF-8")?;
    let profile = |number: u64| {
        let seed = seed + number;
        format!("[profiles.fuzz{number}]\ncommand = [{program:?}, \"fuzz-program\", \"{seed}\"]\n")
    };
    let profiles: String = (0..sessions).map(profile).collect();
    Ok(format!("[sessions]\nscrollback_bytes = {SCROLLBACK_BYTES}\n{profiles}"))
}

/// Asks for pongs as another user until it is over; returns how long each took.
fn ping(server: &Server, is_over: &AtomicBool) -> anyhow::Result<Histogram<u64>> {
    let mut waits = report::latencies()?;
    let tokens = server.tokens(Users::Distinct, 1)?;
    let token = tokens.first().context("a token")?;
    let mut connection = server.connect_as(token, &server.endpoint("/ws"), 0)?;
    while !is_over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        connection.ask("ping", &json!({}))?;
        waits.saturating_record(u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX));
        clock::pause(PING_PAUSE);
    }
    Ok(waits)
}

/// What the viewers saw.
#[derive(Default)]
struct Visits {
    most_memory: u64,
    snapshot_bytes: usize,
    snapshots: u64,
}

/// Lets viewers of other sizes come and go.
fn visit(server: &Server, options: &Options, seed: u64) -> anyhow::Result<Visits> {
    let mut random = Random::seeded(seed);
    let mut sessions = Vec::new();
    let mut creator = server.connect(0)?;
    for number in 0..options.sessions {
        let profile = format!("fuzz{number}");
        let question = json!({"kind": "terminal", "profile": profile, "cols": 80, "rows": 24});
        sessions.push(creator.ask("create_session", &question)?["session"]["id"].clone());
    }
    let mut visits = Visits::default();
    let mut stuck = VecDeque::new();
    let until = Instant::now() + Duration::from_secs(options.seconds);
    while Instant::now() < until {
        let session = &sessions[index(random.below(options.sessions))];
        // Half of the sizes are small: narrow terminals make the most rows.
        let [cols, rows] = match random.below(2) {
            0 => [2 + random.below(20), 1 + random.below(20)],
            _ => [2 + random.below(MAX_COLS - 1), 1 + random.below(MAX_ROWS)],
        };
        let mut viewer = server.connect(0)?;
        let attach = json!({"session": session, "role": "writer", "cols": cols, "rows": rows});
        viewer.ask("attach", &attach)?;
        if random.below(4) > 0 {
            let bytes = snapshot_bytes(&mut viewer)?;
            visits.snapshot_bytes = visits.snapshot_bytes.max(bytes);
            visits.snapshots += 1;
        } else {
            stuck.push_back(viewer);
        }
        if stuck.len() > STUCK_VIEWERS * sessions.len() {
            stuck.pop_front();
        }
        visits.most_memory = visits.most_memory.max(server.memory()?.resident);
        clock::pause(VISIT_PAUSE);
    }
    Ok(visits)
}

/// Reads until the snapshot; returns its size.
fn snapshot_bytes(viewer: &mut Connection) -> anyhow::Result<usize> {
    loop {
        let (opcode, payload) = viewer.next_frame()?;
        if opcode == frame::CLOSE {
            bail!("closed before the snapshot");
        }
        if opcode == frame::BINARY && payload.first() == Some(&SNAPSHOT) {
            return Ok(payload.len());
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(0)
}
