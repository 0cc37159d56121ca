//! `bench speed`: a program's output and keys through rejoin, beside a bare terminal, tmux and ttyd.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use hdrhistogram::Histogram;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

mod line;
mod peer;

use line::Line;
use peer::{Audience, Peer};

use crate::clock;
use crate::machine;
use crate::report::{self, Spread, as_float, mebibytes, print_header, print_line, quantile};
use crate::server::Server;

/// The program prints this once it reads keys.
const READY: &[u8] = b"READY";
/// The key that makes the program print.
const PRINT: u8 = b'g';
/// The key that the program echoes.
const ECHOED: u8 = b'k';
/// The text before the nanoseconds that the output took.
const DONE: &[u8] = b"done:";
const TIME_DIGITS: usize = 20;
/// Bytes at the end of each output that are searched for it.
const TAIL_BYTES: usize = 1024;
/// The length of a printed line and the lines per write, as of a build tool's log.
const LINE_BYTES: usize = 72;
const LINES: usize = 32;
/// The time between two keys.
const KEY_INTERVAL: Duration = Duration::from_millis(5);
/// Keys typed before the measurement.
const WARM_UP: u32 = 100;

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Output of the program in each round, in MB
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u64).range(1..))]
    megabytes: u64,
    /// Rounds of each server
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Keys typed in each round, 200 per second
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,
    /// Measure rejoin with one viewer only
    #[arg(long)]
    one_viewer: bool,
}

/// A server with its figures of each round.
struct Series {
    peer: Peer,
    /// MB/s of the program.
    rates: Vec<f64>,
    /// CPU time in ms per MB.
    cpu: Vec<f64>,
    idle: Histogram<u64>,
    printing: Histogram<u64>,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(2500)?;
    let bytes = options.megabytes * 1_000_000;
    let mut peers = vec![Peer::bare(bytes)];
    for peer in [Peer::tmux(bytes)?, Peer::ttyd(bytes)?] {
        match peer {
            Ok(peer) => peers.push(peer),
            Err(missing) => print_line(format_args!("{missing} is not installed: skipped")),
        }
    }
    let audiences = [(1, 0), (10, 0), (100, 0), (100, 1), (1000, 1)];
    let count = if options.one_viewer { 1 } else { audiences.len() };
    for (viewers, stuck) in audiences.into_iter().take(count) {
        peers.push(Peer::rejoin(bytes, Audience { viewers, stuck })?);
    }

    print_line(format_args!(
        "{} rounds, each with {} MB of output and {} keys; {}\n",
        options.rounds,
        options.megabytes,
        options.keys,
        machine::load()
    ));
    let mut all = Vec::new();
    for peer in peers {
        all.push(Series::new(peer)?);
    }
    // Each round visits all servers, so that other load of the machine affects all alike.
    for _ in 0..options.rounds {
        for series in &mut all {
            let name = series.peer.name.clone();
            series.round(options).with_context(|| format!("{name} failed"))?;
        }
    }

    print_table(&all)
}

fn print_table(all: &[Series]) -> anyhow::Result<()> {
    print_header(
        "server | MB/s | of the bare terminal | CPU ms/MB | key to echo p50 | p99 | while printing p50 | p99 | \
         server memory, peak",
    );
    for Series { peer, rates, cpu, idle, printing } in all {
        let ratio = Spread::of_ratios(rates, &all[0].rates);
        print_line(format_args!(
            "{} | {:.1} | {ratio:.2} | {:.1} | {} | {} | {} | {} | {}",
            peer.name,
            Spread::of(rates),
            Spread::of(cpu),
            quantile(idle, 0.5),
            quantile(idle, 0.99),
            quantile(printing, 0.5),
            quantile(printing, 0.99),
            peer.peak_memory()?.map_or_else(|| "–".to_owned(), mebibytes),
        ));
    }
    Ok(())
}

impl Series {
    fn new(peer: Peer) -> anyhow::Result<Self> {
        let (idle, printing) = (report::latencies()?, report::latencies()?);
        Ok(Self { peer, rates: Vec::new(), cpu: Vec::new(), idle, printing })
    }

    /// Measures output alone, keys alone, and keys beside the output of another terminal.
    fn round(&mut self, options: &Options) -> anyhow::Result<()> {
        let mut line = self.peer.open(true)?;
        let cpu = self.peer.cpu_time()?;
        self.rates.push(print(&mut line, options.megabytes)?);
        let spent = self.peer.cpu_time()? - cpu;
        self.cpu.push(spent.as_secs_f64() * 1e3 / as_float(options.megabytes));

        let mut typed = self.peer.open(false)?;
        type_keys(&mut typed, &mut report::latencies()?, |number| number >= WARM_UP)?;
        type_keys(&mut typed, &mut self.idle, |number| number >= options.keys)?;

        let is_over = AtomicBool::new(false);
        let printing = &mut self.printing;
        thread::scope(|scope| {
            let typist = scope
                .spawn(|| type_keys(&mut typed, printing, |_| is_over.load(Ordering::Relaxed)));
            let printed = print(&mut line, options.megabytes);
            is_over.store(true, Ordering::Relaxed);
            typist.join().map_err(|_| anyhow!("the typist panicked"))??;
            printed
        })?;
        Ok(())
    }
}

/// Returns the settings of a server for [`print_once`].
pub(crate) fn settings(megabytes: u64) -> String {
    peer::profile(megabytes * 1_000_000)
}

/// Lets a new terminal print to one viewer. Returns the program's rate in MB/s and the server's
/// CPU time.
pub(crate) fn print_once(server: &Server, megabytes: u64) -> anyhow::Result<(f64, Duration)> {
    let mut line = peer::open_rejoin(server, Audience::ONE)?;
    let cpu = server.cpu_time()?;
    let rate = print(&mut line, megabytes)?;
    Ok((rate, server.cpu_time()? - cpu))
}

/// Lets the program print and reads all. Returns the program's rate in MB/s.
fn print(line: &mut Line, megabytes: u64) -> anyhow::Result<f64> {
    line.send(&[PRINT])?;
    let mut tail = Vec::new();
    loop {
        // The end may be cut, or followed by a multiplexer's own sequences.
        line.receive(|output| {
            tail.extend_from_slice(&output[output.len().saturating_sub(TAIL_BYTES)..]);
            tail.drain(..tail.len().saturating_sub(2 * TAIL_BYTES));
        })?;
        if let Some(nanos) = time_of_end(&tail) {
            return Ok(as_float(megabytes) * 1e9 / as_float(nanos.max(1)));
        }
    }
}

fn time_of_end(output: &[u8]) -> Option<u64> {
    let at = output.windows(DONE.len()).rposition(|part| part == DONE)?;
    let digits = output[at + DONE.len()..].get(..TIME_DIGITS)?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Types keys, each after the echo of the one before it, until `is_last` returns `true`.
fn type_keys(
    line: &mut Line,
    latencies: &mut Histogram<u64>,
    is_last: impl Fn(u32) -> bool,
) -> anyhow::Result<()> {
    let mut number = 0;
    while !is_last(number) {
        clock::pause(KEY_INTERVAL);
        let typed = clock::now();
        line.send(&[ECHOED])?;
        let mut is_echoed = false;
        while !is_echoed {
            line.receive(|output| is_echoed = output.contains(&ECHOED))?;
        }
        latencies.saturating_record(clock::now() - typed);
        number += 1;
    }
    Ok(())
}

/// Runs the terminal's program: one key makes it print, it echoes others.
pub(crate) fn program(bytes: u64) -> anyhow::Result<()> {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut settings = tcgetattr(&input)?;
    settings.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    tcsetattr(&input, OptionalActions::Now, &settings)?;
    output.write_all(READY)?;
    output.flush()?;

    let mut lines = [[b'.'; LINE_BYTES]; LINES];
    for line in &mut lines {
        line[LINE_BYTES - 1] = b'\n';
    }
    let mut key = [0];
    while input.read(&mut key)? > 0 {
        match key[0] {
            PRINT => {
                // No screen that is drawn again shows an earlier end.
                output.write_all(b"\x1b[2J\x1b[H")?;
                let (started, mut written) = (clock::now(), 0);
                while written < bytes {
                    output.write_all(lines.as_flattened())?;
                    output.flush()?;
                    written += lines.as_flattened().len() as u64;
                }
                let took = clock::now() - started;
                write!(output, "\r\n{}{took:020}\r\n", str::from_utf8(DONE)?)?;
            }
            ECHOED => output.write_all(&key)?,
            other => bail!("key {other} has no meaning"),
        }
        output.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_the_last_end_is_found() {
        let output = b"done:00000000000000000007\r\n.done:00000000000000000009\r\n\x1b[H";
        assert_eq!(time_of_end(output), Some(9));
        assert_eq!(time_of_end(b"done:000"), None);
        assert_eq!(time_of_end(b"....\r\n"), None);
    }
}
