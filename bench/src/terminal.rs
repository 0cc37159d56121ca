//! `bench terminal`: many viewers of one terminal that prints without end, and one that is stuck.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::clock;
use crate::data::{read_digits, write_digits};
use crate::frame;
use crate::machine;
use crate::report::{self, as_float, mebibytes, quantile, say};
use crate::server::Server;
use crate::swarm::{Received, Swarm};

/// Before each time that is printed; nothing else prints it.
const MARK: u8 = b'@';
const TIME_DIGITS: usize = 20;
/// One printed line, narrower than the terminal.
const LINE_BYTES: usize = 72;
/// Lines written at once.
const LINES: usize = 32;
/// The size of the terminal.
const COLS: u16 = 80;
const ROWS: u16 = 24;
/// The kinds of binary messages.
const OUTPUT: u8 = 1;
const SNAPSHOT: u8 = 3;
const TURN: Duration = Duration::from_millis(200);

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections attached to the terminal
    #[arg(long, default_value_t = 1000)]
    viewers: usize,
    /// Seconds of each run
    #[arg(long, default_value_t = 15)]
    seconds: u64,
}

/// Measures both and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(options.viewers as u64 + 200)?;
    if options.viewers < 2 {
        bail!("at least 2 viewers are needed: one is stuck, the others are measured");
    }
    say(format_args!(
        "{} viewers of one terminal that prints as fast as it can, {} s each\n",
        options.viewers, options.seconds
    ));
    say("viewers | delivered | outputs | snapshots | p50 | p99 | server memory | peak | CPU");
    say("---|---|---|---|---|---|---|---|---");
    run_once("all reading", options, false)?;
    run_once("one stuck", options, true)
}

/// What the viewers received.
struct Tally {
    outputs: u64,
    snapshots: u64,
    latencies: Histogram<u64>,
}

/// On a server of its own, so that its peak of memory is that of this run.
fn run_once(name: &str, options: &Options, stuck: bool) -> anyhow::Result<()> {
    let program = std::env::current_exe()?;
    let profile = toml_string(program.to_str().context("a path that is not UTF-8")?);
    let server = Server::rejoin(&format!("[profiles.flood]\ncommand = [{profile}, \"print\"]\n"))?;
    let mut viewers = attach(&server, options.viewers)?;
    if stuck {
        viewers.abandon(0)?;
    }
    // Attaching took a while, in which all fell behind: that is not what is measured.
    collect(&mut viewers, Duration::from_secs(1))?;
    let (bytes, cpu, began) = (viewers.bytes, server.cpu_time()?, Instant::now());
    let tally = collect(&mut viewers, Duration::from_secs(options.seconds))?;
    let seconds = began.elapsed().as_secs_f64();
    let memory = server.memory()?;
    say(format_args!(
        "{name} | {:.1} MiB/s | {} | {} | {} | {} | {} | {} | {:.0} %",
        as_float(viewers.bytes - bytes) / seconds / f64::from(1 << 20),
        tally.outputs,
        tally.snapshots,
        quantile(&tally.latencies, 0.5),
        quantile(&tally.latencies, 0.99),
        mebibytes(memory.resident),
        mebibytes(memory.peak),
        (server.cpu_time()? - cpu).as_secs_f64() / seconds * 100.0,
    ));
    Ok(())
}

fn attach(server: &Server, viewers: usize) -> anyhow::Result<Swarm> {
    let mut creator = server.connect(0)?;
    let question = json!({"kind": "terminal", "profile": "flood", "cols": COLS, "rows": ROWS});
    let session = creator.ask("create_session", &question)?["session"]["id"].clone();
    let mut connections = Vec::with_capacity(viewers);
    for index in 0..viewers {
        let mut connection = server.connect(index)?;
        connection.ask("attach", &json!({"session": session, "role": "viewer"}))?;
        connections.push(connection);
    }
    Swarm::new(connections)
}

fn collect(viewers: &mut Swarm, duration: Duration) -> anyhow::Result<Tally> {
    let mut tally = Tally { outputs: 0, snapshots: 0, latencies: report::latencies()? };
    let until = Instant::now() + duration;
    while Instant::now() < until {
        viewers.turn(TURN, &mut |message| {
            tally.take(message);
            Ok(())
        })?;
    }
    Ok(tally)
}

impl Tally {
    fn take(&mut self, message: &Received<'_>) {
        if message.opcode != frame::BINARY {
            return;
        }
        let newest = match message.payload.first() {
            Some(&OUTPUT) => {
                self.outputs += 1;
                last_time(message.payload)
            }
            // Its rows are in no order of time that we know.
            Some(&SNAPSHOT) => {
                self.snapshots += 1;
                times(message.payload).max()
            }
            _ => None,
        };
        if let Some(time) = newest {
            self.latencies.saturating_record(message.time.saturating_sub(time));
        }
    }
}

/// The last complete time in some output.
fn last_time(output: &[u8]) -> Option<u64> {
    let end = output.len().checked_sub(TIME_DIGITS)?;
    let marks = output[..end].iter().enumerate().rev().filter(|(_, byte)| **byte == MARK);
    marks.filter_map(|(at, _)| read_digits(&output[at + 1..at + 1 + TIME_DIGITS])).next()
}

fn times(output: &[u8]) -> impl Iterator<Item = u64> {
    output
        .windows(1 + TIME_DIGITS)
        .filter(|window| window[0] == MARK)
        .filter_map(|window| read_digits(&window[1..]))
}

/// A string as TOML takes it.
fn toml_string(text: &str) -> String {
    format!("{text:?}")
}

/// The program in the terminal: prints lines with the time as fast as they are taken.
pub(crate) fn print() -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    let mut lines = [[b'.'; LINE_BYTES]; LINES];
    for line in &mut lines {
        line[0] = MARK;
        line[LINE_BYTES - 1] = b'\n';
    }
    loop {
        for line in &mut lines {
            write_digits(&mut line[1..=TIME_DIGITS], clock::now());
        }
        output.write_all(lines.as_flattened())?;
        output.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_time_that_is_complete_is_found() {
        let output = b"@00000000000000000007...\r\n@00000000000000000009...\r\n@0000";
        assert_eq!(last_time(output), Some(9));
        assert_eq!(times(output).max(), Some(9));
        assert_eq!(last_time(b"@0000"), None);
        assert_eq!(last_time(b"nothing that is marked here"), None);
    }
}
