//! `bench attach`: from the attach to the first screen after long output, beside a raw replay.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::clock;
use crate::report::{self, mebibytes, print_header, print_line, quantile};
use crate::server::{Server, profile};
use crate::tmux::Tmux;

/// The size of the terminal.
const COLS: u16 = 120;
const ROWS: u16 = 40;
/// The title that the program sets after its output.
const DONE: &str = "printed";
/// The time without output after which a screen of tmux is complete.
const SILENCE: Duration = Duration::from_millis(100);
const LONG_SILENCE: Duration = Duration::from_secs(1);
/// Lines of a page of the history.
const LINES: u16 = 500;

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Output of the program, in MB
    #[arg(long, default_value_t = 100)]
    megabytes: u64,
    /// Attaches, one after the other
    #[arg(long, default_value_t = 50)]
    attaches: u32,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let bytes = options.megabytes * 1_000_000;
    let server = Server::rejoin(&profile("agent", &["agent-program", &bytes.to_string()])?)?;
    let session = server.print("agent", (COLS, ROWS), DONE)?;

    print_line(format_args!(
        "a terminal of {COLS}×{ROWS} after {} MB of output of an agent-like program\n",
        options.megabytes
    ));
    print_header("reader | bytes | p50 | p99");
    attach(&server, &session, options.attaches)?;
    page(&server, &session, options.attaches)?;
    replay(bytes)?;
    attach_tmux(bytes, options.attaches)
}

/// Measures from the start of `tmux attach` to the first screen, if tmux is installed.
fn attach_tmux(bytes: u64, attaches: u32) -> anyhow::Result<()> {
    if !Tmux::is_installed() {
        print_line("tmux is not installed: skipped");
        return Ok(());
    }

    let tmux = Tmux::new()?;
    let program = std::env::current_exe()?.display().to_string();
    let mut first = tmux.open(&[program, "agent-program".to_owned(), bytes.to_string()])?;
    // Until the end of the output: the spinner stands still.
    while first.read_until_silence(LONG_SILENCE)?.0 > 0 {}
    let (mut times, mut received) = (report::latencies()?, 0);
    for _ in 0..attaches {
        let started = clock::now();
        let mut terminal = tmux.attach()?;
        let (count, last) = terminal.read_until_silence(SILENCE)?;
        received = count;
        times.record(last.saturating_sub(started))?;
    }
    print_row("tmux attach, first screen", received, &times);
    Ok(())
}

/// Measures from the attach to the complete snapshot.
fn attach(server: &Server, session: &Value, attaches: u32) -> anyhow::Result<()> {
    let (mut times, mut bytes) = (report::latencies()?, 0);
    for _ in 0..attaches {
        let mut connection = server.connect()?;
        let started = Instant::now();
        connection.request("attach", &json!({"session": session, "role": "viewer"}))?;
        bytes = connection.wait_for_snapshot()?;
        record(&mut times, started)?;
    }

    print_row("attach, first screen", bytes, &times);
    Ok(())
}

/// Measures the newest page of the history. A server without pages has no such row.
fn page(server: &Server, session: &Value, pages: u32) -> anyhow::Result<()> {
    let mut connection = server.connect()?;
    let request = json!({"session": session, "lines": LINES});
    let (mut times, mut bytes) = (report::latencies()?, 0);
    for _ in 0..pages {
        let started = Instant::now();
        let Ok(page) = connection.request("history", &request) else { return Ok(()) };
        record(&mut times, started)?;
        bytes = page["data"].as_str().map_or(0, str::len);
    }

    print_row(&format!("history, {LINES} lines"), bytes, &times);
    Ok(())
}

/// Measures the transfer of all output through a Unix socket, without interpreting it.
fn replay(bytes: u64) -> anyhow::Result<()> {
    let (mut writer, mut reader) = UnixStream::pair()?;
    let mut output = Vec::new();
    write_output(&mut output, bytes)?;

    // Only the transfer is timed: any reader of the whole output waits at least that long.
    let started = Instant::now();
    let sender = std::thread::spawn(move || writer.write_all(&output));
    let (mut buffer, mut received) = (vec![0; 256 * 1024], 0);
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            count => received += count,
        }
    }

    let mut times = report::latencies()?;
    record(&mut times, started)?;
    sender.join().map_err(|_| anyhow!("the sender panicked"))?.context("cannot replay")?;
    print_row("raw replay through a Unix socket", received, &times);
    Ok(())
}

fn record(times: &mut Histogram<u64>, started: Instant) -> anyhow::Result<()> {
    Ok(times.record(clock::span(started.elapsed()))?)
}

fn print_row(name: &str, bytes: usize, times: &Histogram<u64>) {
    print_line(format_args!(
        "{name} | {bytes} ({}) | {} | {}",
        mebibytes(bytes as u64),
        quantile(times, 0.5),
        quantile(times, 0.99),
    ));
}

/// Prints output of an agent's command line, then waits until the terminal is closed.
pub(crate) fn program(bytes: u64) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    write_output(&mut stdout, bytes)?;
    write!(stdout, "\x1b]2;{DONE}\x07")?;
    stdout.flush()?;

    // Ends with the terminal.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Writes coloured text, and below it a box with a spinner that is drawn again and again.
fn write_output(out: &mut impl std::io::Write, bytes: u64) -> anyhow::Result<()> {
    let (mut written, mut step) = (0, 0_u64);
    while written < bytes {
        let spinner = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴'][(step % 6) as usize];
        let text = format!(
            "\x1b[1m●\x1b[m Step {step}: reads \x1b[36msrc/file{step}.rs\x1b[m and changes a few lines\x1b[K\r\n\
             \x1b[32m+    let total = items.iter().map(|item| item.bytes).sum::<u64>();\x1b[m\x1b[K\r\n\
             \x1b[31m-    let total = count(items);\x1b[m\x1b[K\r\n\
             \x1b[2m╭{0}╮\x1b[m\r\n\x1b[2m│\x1b[m \x1b[35m{spinner}\x1b[m Working… {step} tokens\x1b[K\r\n\
             \x1b[2m╰{0}╯\x1b[m\x1b[3A\r\x1b[J\r\n",
            "─".repeat(60),
        );
        out.write_all(text.as_bytes())?;
        written += text.len() as u64;
        step += 1;
    }

    Ok(())
}
