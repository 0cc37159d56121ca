//! `bench history`: scrolling back on a slow link while output goes on, beside a raw replay.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use hdrhistogram::Histogram;
use rejoin_protocol::StreamNumber;
use rejoin_protocol::binary::{BinaryHeader, BinaryKind};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock;
use crate::connection::Connection;
use crate::frame;
use crate::report::{self, print_header, print_line, quantile};
use crate::server::{Server, profile};
use crate::slow_link::{self, Link};

const COLS: u16 = 100;
const ROWS: u16 = 40;
/// Lines of the first page and of the others, as the web page asks for them.
const FIRST_LINES: u64 = 100;
const PAGE_LINES: u64 = 500;
const WINDOW: u64 = 192 * 1024;
/// The title that the program sets after its numbered lines.
const DONE: &str = "printed";
/// The time between two lines of the output that goes on.
const LIVE_INTERVAL: Duration = Duration::from_millis(50);
/// The time for which the output is measured before the scrolling.
const QUIET: Duration = Duration::from_secs(3);

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Lines above the screen
    #[arg(long, default_value_t = 10_000)]
    lines: u64,
    /// Rate of the link, in kbit/s
    #[arg(long, default_value_t = 1000)]
    kilobits: u32,
    /// Round trip of the link, in milliseconds
    #[arg(long, default_value_t = 200)]
    round_trip: u64,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let program = profile("lines", &["history-program", &options.lines.to_string()])?;
    // Twice the lines, so that the output that goes on drops none of them.
    let lines = options.lines * 2;
    let server = Server::rejoin(&format!("[sessions]\nscrollback_lines = {lines}\n{program}"))?;
    let session = server.print("lines", (COLS, ROWS), DONE)?;
    let link = Link {
        bytes_per_second: options.kilobits * 1000 / 8,
        delay: Duration::from_millis(options.round_trip) / 2,
    };

    print_line(format_args!(
        "{} lines above a screen of {COLS}×{ROWS}, {} kbit/s, round trip {} ms; \
         a further line every {} ms\n",
        options.lines,
        options.kilobits,
        options.round_trip,
        LIVE_INTERVAL.as_millis(),
    ));
    print_header(
        "reader | bytes received | until the screen | until the last line | page p50 | page max | \
         output late p50 | p99 | before the scrolling p50",
    );
    for is_compressed in [true, false] {
        scroll(&server, &session, link, is_compressed)?;
    }
    replay(options.lines, link)
}

/// A client on the slow link, with the state of its viewer.
struct Scroller {
    connection: Connection,
    stream: StreamNumber,
    /// Bytes of binary messages, and those that are acknowledged.
    parsed: u64,
    acknowledged: u64,
    /// The offset after the received output; `None` before the first snapshot.
    offset: Option<u64>,
    /// The range of the history at the first snapshot.
    history: Option<History>,
    /// The output after the last complete line.
    partial: Vec<u8>,
    /// The number of the next line of the output that goes on.
    next_live: Option<u64>,
    late: Histogram<u64>,
}

/// The range of a history, as the server describes it.
#[derive(Deserialize)]
struct History {
    first: u64,
    end: u64,
    generation: u64,
}

/// A page of a history.
#[derive(Deserialize)]
struct Page {
    from: u64,
    to: u64,
    data: String,
}

/// Attaches, waits, scrolls to the first line, and checks all lines.
fn scroll(server: &Server, session: &Value, link: Link, is_compressed: bool) -> anyhow::Result<()> {
    let mut endpoint = server.endpoint("/ws");
    endpoint.address = slow_link::start(endpoint.address, link)?;
    if is_compressed {
        endpoint = endpoint.with_deflate();
    }
    let mut scroller = Scroller {
        connection: Connection::open(&endpoint)?,
        stream: StreamNumber(0),
        parsed: 0,
        acknowledged: 0,
        offset: None,
        history: None,
        partial: Vec::new(),
        next_live: None,
        late: report::latencies()?,
    };

    let started = Instant::now();
    let attach = json!({"session": session, "role": "viewer", "window": WINDOW});
    let mut attached = scroller.request("attach", &attach)?;
    scroller.stream = serde_json::from_value(attached["stream"].take())?;
    while scroller.offset.is_none() {
        scroller.receive()?;
    }
    let first_screen = started.elapsed();

    let quiet = Instant::now();
    while quiet.elapsed() < QUIET {
        scroller.receive()?;
    }
    let before = std::mem::replace(&mut scroller.late, report::latencies()?);

    let started = Instant::now();
    let pages = scroller.load_all(session)?;
    let last_line = started.elapsed();

    print_line(format_args!(
        "history, {} | {} | {:.2} s | {:.2} s | {} | {} | {} | {} | {}",
        if is_compressed { "compressed" } else { "plain" },
        scroller.connection.received_bytes(),
        first_screen.as_secs_f64(),
        last_line.as_secs_f64(),
        quantile(&pages, 0.5),
        quantile(&pages, 1.0),
        quantile(&scroller.late, 0.5),
        quantile(&scroller.late, 0.99),
        quantile(&before, 0.5),
    ));
    Ok(())
}

impl Scroller {
    /// Requests pages from the end of the history to its first line. Returns the waits.
    fn load_all(&mut self, session: &Value) -> anyhow::Result<Histogram<u64>> {
        let History { first, end, generation } = self.history.take().context("no history")?;
        let (mut before, mut lines, mut waits) = (end, FIRST_LINES, report::latencies()?);
        while before > first {
            let query = json!({
                "session": session, "before": before, "generation": generation, "lines": lines,
            });
            let started = Instant::now();
            let page = self.request("history", &query)?;
            waits.record(clock::span(started.elapsed()))?;

            let Page { from, to, data } = serde_json::from_value(page)?;
            ensure!(to == before && from < to, "a page of {from}..{to} before {before}");
            check_numbers(&data, from..to)?;
            (before, lines) = (from, PAGE_LINES);
        }

        Ok(waits)
    }

    /// Sends a request and waits for its reply, while output arrives.
    fn request(&mut self, kind: &str, payload: &Value) -> anyhow::Result<Value> {
        let id = self.connection.send_request(kind, &payload.to_string())?;
        loop {
            let mut reply = self.receive()?;
            if reply["reply_to"] == id {
                ensure!(reply["type"] != "error", "`{kind}` failed: {}", reply["payload"]);
                return Ok(reply["payload"].take());
            }
        }
    }

    /// Handles the next message. Returns it if it is JSON.
    fn receive(&mut self) -> anyhow::Result<Value> {
        let frame = self.connection.next_frame()?;
        if frame.opcode == frame::BINARY {
            self.take_binary(frame.payload())?;
        }
        if self.parsed - self.acknowledged >= WINDOW / 4 {
            self.acknowledged = self.parsed;
            let (kind, stream) = (BinaryKind::Parsed, self.stream);
            let ack = BinaryHeader { kind, stream, offset: self.parsed }.to_bytes();
            self.connection.send(frame::BINARY, &ack)?;
        }

        let message = frame.message()?;
        let history = &message["payload"]["history"];
        if history.is_object() && self.history.is_none() {
            self.history = Some(History::deserialize(history)?);
        }
        Ok(message)
    }

    fn take_binary(&mut self, message: &[u8]) -> anyhow::Result<()> {
        self.parsed += message.len() as u64;
        let (head, data) = BinaryHeader::read(message)?;
        match head.kind {
            BinaryKind::Snapshot => {
                ensure!(self.offset.is_none(), "a snapshot instead of output");
                self.offset = Some(head.offset);
            }
            BinaryKind::Output => {
                ensure!(self.offset == Some(head.offset), "a gap or a repeat in the output");
                self.offset = Some(head.offset + data.len() as u64);
                self.partial.extend_from_slice(data);
                while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.partial.drain(..=end).collect();
                    self.take_live(&line)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks the number of a line that was printed meanwhile, and records its delay.
    fn take_live(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let text = String::from_utf8_lossy(line);
        let mut words = text.split_whitespace();
        let fields = (words.next(), words.next(), words.next());
        // The first line may be the rest of one that began before the snapshot.
        let (Some("live"), Some(number), Some(time)) = fields else { return Ok(()) };

        let number: u64 = number.parse()?;
        ensure!(self.next_live.is_none_or(|next| next == number), "line {number} twice or late");
        self.next_live = Some(number + 1);
        self.late.record(clock::now().saturating_sub(time.parse()?).max(1))?;
        Ok(())
    }
}

/// Checks that a page has each of its lines once, as far as they are numbered.
fn check_numbers(data: &str, lines: Range<u64>) -> anyhow::Result<()> {
    let numbers = data.match_indices("line ").map(|(at, _)| &data[at + 5..at + 10]);
    let numbers: Result<Vec<u64>, _> = numbers.map(str::parse).collect();
    let numbers = numbers.context("a line without a number")?;
    // Lines of the output that goes on are above the screen as well.
    let numbered = lines.start..lines.start + numbers.len() as u64;
    ensure!(numbers.iter().copied().eq(numbered), "other lines than {lines:?}: {numbers:?}");

    let live = data.match_indices("live ").count() as u64;
    let count = numbers.len() as u64 + live;
    ensure!(count == lines.end - lines.start, "{count} lines in a page of {lines:?}");
    Ok(())
}

/// Measures the transfer of the same lines over the same link, without interpreting them.
fn replay(lines: u64, link: Link) -> anyhow::Result<()> {
    let mut output = Vec::new();
    write_lines(&mut output, lines)?;
    let length = output.len();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let SocketAddr::V4(address) = listener.local_addr()? else { bail!("no IPv4 address") };
    let sender = std::thread::spawn(move || listener.accept()?.0.write_all(&output));

    let started = Instant::now();
    let mut socket = TcpStream::connect(slow_link::start(address, link)?)?;
    let mut received = Vec::new();
    socket.read_to_end(&mut received)?;
    let time = started.elapsed().as_secs_f64();
    sender.join().map_err(|_| anyhow!("the sender panicked"))?.context("cannot replay")?;
    ensure!(received.len() == length, "{} bytes of {length}", received.len());
    print_line(format_args!(
        "raw replay | {length} | {time:.2} s | {time:.2} s | - | - | - | - | -"
    ));
    Ok(())
}

/// Prints the numbered lines, then further ones until the terminal is closed.
pub(crate) fn program(lines: u64) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    write_lines(&mut stdout, lines)?;
    write!(stdout, "\x1b]2;{DONE}\x07")?;
    stdout.flush()?;

    for number in 0_u64.. {
        clock::pause(LIVE_INTERVAL);
        write!(stdout, "live {number} {}\r\n", clock::now())?;
        stdout.flush()?;
    }
    Ok(())
}

fn write_lines(out: &mut impl std::io::Write, lines: u64) -> anyhow::Result<()> {
    for number in 0..lines {
        let bytes = number * 7919 % 100_000;
        write!(
            out,
            "\x1b[2mline {number:05}\x1b[m \x1b[32m+    let total = items[{bytes}].iter().sum::<u64>();\x1b[m\r\n"
        )?;
    }
    Ok(())
}
