//! `bench sessions`: memory of idle terminals, and the start of a server that finds their keepers.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::clock::{self, Watchdog};
use crate::machine;
use crate::pty::{COLS, ROWS};
use crate::report::{Spread, as_float, print_line};
use crate::server::{self, Server};

/// The connection limit of the server.
const CONNECTIONS: usize = 16;
/// The time for processes to release temporary memory.
const RELEASE: Duration = Duration::from_secs(3);
/// The limit for a stop.
const STOP: Duration = Duration::from_secs(30);
/// The time between two attempts to attach.
const RETRY: Duration = Duration::from_millis(5);

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Terminals to hold, each with `cat`
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    sessions: u64,
}

/// Runs the benchmark and prints its figures.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(4 * options.sessions + 500)?;
    // Few connections: each takes a file descriptor that a terminal could have.
    let limits = server::limits_of(CONNECTIONS);
    let settings = "[profiles.idle]\ncommand = [\"cat\"]\n";
    let mut server = Server::rejoin_limited(&limits, settings)?;
    clock::pause(RELEASE);
    // The first figure excludes the allocations of the start.
    let before = server.private_bytes()?;
    let mut connection = server.connect()?;
    let create = json!({"kind": "terminal", "profile": "idle", "cols": COLS, "rows": ROWS});
    let mut sessions = Vec::new();
    for _ in 0..options.sessions {
        sessions.push(connection.request("create_session", &create)?["session"]["id"].clone());
    }
    drop(connection);
    clock::pause(RELEASE);

    let bytes = server.private_bytes()?.saturating_sub(before);
    let keepers: Result<Vec<_>, _> =
        server.keepers()?.into_iter().map(machine::private_bytes).collect();
    let keepers: Vec<f64> = keepers?.into_iter().map(|bytes| as_float(bytes) / 1e3).collect();
    print_line(format_args!("{} idle terminals of {COLS}×{ROWS}", options.sessions));
    print_line(format_args!(
        "server: {:.1} kB of private memory per terminal",
        as_float(bytes) / 1e3 / as_float(options.sessions)
    ));
    print_line(format_args!(
        "{} keepers: {:.0} kB of private memory each",
        keepers.len(),
        Spread::of(&keepers)
    ));

    server.terminate()?;
    server.wait(STOP)?.context("the server did not stop")?;
    let started = Instant::now();
    server.restart()?;
    let listens = started.elapsed();
    attach_all(&server, &sessions)?;
    print_line(format_args!(
        "restart: listens after {} ms, all terminals are attached after {} ms",
        listens.as_millis(),
        started.elapsed().as_millis()
    ));
    Ok(())
}

/// Attaches to each session, as soon as the server has found its keeper.
fn attach_all(server: &Server, sessions: &[Value]) -> anyhow::Result<()> {
    let mut connection = server.connect()?;
    let mut watchdog = Watchdog::new();
    for (number, session) in sessions.iter().enumerate() {
        let attach = json!({"session": session, "role": "viewer"});
        while connection.request("attach", &attach).is_err() {
            clock::pause(RETRY);
            watchdog.check(number as u64, "terminals")?;
        }
    }
    Ok(())
}
