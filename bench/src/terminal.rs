//! `bench terminal`: many viewers of one terminal that prints without end, one of them stuck.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hdrhistogram::Histogram;
use rejoin_protocol::binary::BinaryKind;
use serde_json::json;

use crate::client_pool::{ClientPool, Frame};
use crate::clock;
use crate::frame;
use crate::machine;
use crate::report::{self, mebibytes, print_header, print_line, quantile};
use crate::server::{Server, profile};

/// The digits of a printed time.
const TIME_DIGITS: usize = 20;
/// The byte before each printed time; the program prints it nowhere else.
const MARK: u8 = b'@';
/// Bytes of one printed line, which must be narrower than the terminal.
const LINE_BYTES: usize = 72;
/// Lines per write.
const LINES: usize = 32;
/// The size of the terminal.
const COLS: u16 = 80;
const ROWS: u16 = 24;
const POLL: Duration = Duration::from_millis(200);

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

/// The messages that the viewers received.
struct Tally {
    outputs: u64,
    snapshots: u64,
    latencies: Histogram<u64>,
}

/// Runs the benchmark without and with a stuck viewer, and prints its table.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.viewers > 1, "--viewers must be at least 2: one is stuck in the second run");
    machine::allow_open_files(options.viewers as u64 + 200)?;
    print_line(format_args!(
        "{} viewers of one terminal that prints as fast as it can, {} s each\n",
        options.viewers, options.seconds
    ));
    print_header(
        "viewers | delivered | outputs | snapshots | p50 | p99 | server memory | peak | CPU",
    );

    measure("all reading", options, 0)?;
    measure("one stuck", options, 1)
}

/// Measures with a new server, so that the peak memory belongs to this run.
fn measure(name: &str, options: &Options, stuck: usize) -> anyhow::Result<()> {
    let server = Server::rejoin(&profile("flood", &["print"])?)?;
    let mut viewers = attach(&server, options.viewers)?;
    for number in 0..stuck {
        viewers.abandon(number)?;
    }

    // All viewers fall behind while they attach; the measurement starts once they caught up.
    collect(&mut viewers, Duration::from_secs(1))?;
    let (bytes, cpu, started) = (viewers.received_bytes, server.cpu_time()?, Instant::now());
    let tally = collect(&mut viewers, Duration::from_secs(options.seconds))?;
    let seconds = started.elapsed().as_secs_f64();
    let memory = server.memory()?;
    print_line(format_args!(
        "{name} | {}/s | {} | {} | {} | {} | {} | {} | {:.0} %",
        mebibytes((viewers.received_bytes - bytes) / options.seconds.max(1)),
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

/// Attaches viewers to a new terminal.
fn attach(server: &Server, viewers: usize) -> anyhow::Result<ClientPool> {
    let session = server.connect()?.create_terminal("flood", (COLS, ROWS))?;
    let attach = json!({"session": session, "role": "viewer"});
    let endpoint = server.endpoint("/ws").with_request("attach", attach);

    // Attached viewers read meanwhile, because the server closes those that do not.
    let mut pool = ClientPool::new()?;
    pool.connect_all(&vec![endpoint; viewers])?;
    Ok(pool)
}

fn collect(viewers: &mut ClientPool, duration: Duration) -> anyhow::Result<Tally> {
    let mut tally = Tally { outputs: 0, snapshots: 0, latencies: report::latencies()? };
    let end = Instant::now() + duration;
    while Instant::now() < end {
        viewers.poll_frames(POLL)?.iter().for_each(|(_, frame)| tally.add(frame));
    }
    Ok(tally)
}

impl Tally {
    fn add(&mut self, frame: &Frame) {
        const OUTPUT: u8 = BinaryKind::Output as u8;
        const SNAPSHOT: u8 = BinaryKind::Snapshot as u8;
        if frame.opcode != frame::BINARY {
            return;
        }

        let payload = frame.payload();
        let newest = match payload.first() {
            Some(&OUTPUT) => {
                self.outputs += 1;
                last_time(payload)
            }
            // The rows of a snapshot are in no known order of time.
            Some(&SNAPSHOT) => {
                self.snapshots += 1;
                // A full screen of stale rows has many times; only the newest gives the delay.
                times(payload).max()
            }
            _ => None,
        };
        if let Some(time) = newest {
            self.latencies.saturating_record(frame.time.saturating_sub(time));
        }
    }
}

/// Returns the last complete time in terminal output.
fn last_time(output: &[u8]) -> Option<u64> {
    // Searches from the end, because each viewer's copy of each output is searched.
    let end = output.len().checked_sub(TIME_DIGITS)?;
    let marks = output[..end].iter().enumerate().rev().filter(|(_, byte)| **byte == MARK);
    marks.filter_map(|(at, _)| read_digits(&output[at + 1..at + 1 + TIME_DIGITS])).next()
}

fn read_digits(field: &[u8]) -> Option<u64> {
    str::from_utf8(field).ok()?.parse().ok()
}

fn times(output: &[u8]) -> impl Iterator<Item = u64> {
    output
        .windows(1 + TIME_DIGITS)
        .filter(|window| window[0] == MARK)
        .filter_map(|window| read_digits(&window[1..]))
}

/// Runs the terminal's program, which prints lines with the time as fast as they are read.
pub(crate) fn print() -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    let mut lines = [[b'.'; LINE_BYTES]; LINES];
    for line in &mut lines {
        line[0] = MARK;
        line[LINE_BYTES - 1] = b'\n';
    }

    // Many lines per write, so that the terminal is the bottleneck and not the program.
    loop {
        for line in &mut lines {
            write!(&mut line[1..=TIME_DIGITS], "{:020}", clock::now())?;
        }
        output.write_all(lines.as_flattened())?;
        output.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_complete_time_is_found() {
        let output = b"@00000000000000000007...\r\n@00000000000000000009...\r\n@0000";
        assert_eq!(last_time(output), Some(9));
        assert_eq!(times(output).max(), Some(9));
        assert_eq!(last_time(b"@0000"), None);
        assert_eq!(last_time(b"no time is marked in this output"), None);
    }
}
