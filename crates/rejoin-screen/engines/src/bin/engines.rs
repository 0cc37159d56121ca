//! Writes snapshots of another terminal engine: `engines avt|shpool-vterm|vt100`.
//!
//! Requests and answers have the form of the example `snapshot` of `rejoin-screen`.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, Write as _};
use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::bail;
use rejoin_screen_engines::recording::Step;
use serde::Deserialize;

/// The lines of history of each engine.
const SCROLLBACK: usize = 1000;

#[derive(Deserialize)]
struct Request {
    cols: u16,
    rows: u16,
    /// Output in hexadecimal, a new size, or `None` for a snapshot.
    steps: Vec<Option<Step>>,
}

/// A terminal engine that can write its state.
trait Engine {
    fn feed(&mut self, output: &[u8]);
    fn resize(&mut self, cols: u16, rows: u16);
    fn snapshot(&self) -> Vec<u8>;
}

fn main() -> anyhow::Result<()> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let start: fn(u16, u16) -> Box<dyn Engine> = match name.as_str() {
        "avt" => |cols, rows| Box::new(Avt::new(cols, rows)),
        "shpool-vterm" => |cols, rows| Box::new(ShpoolVterm::new(cols, rows)),
        "vt100" => |cols, rows| Box::new(Vt100::new(cols, rows)),
        _ => bail!("unknown engine {name:?}: avt, shpool-vterm and vt100 are available"),
    };

    // A panic of an engine is a miss, not a defect of this program.
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?)?;
        let mut engine = start(request.cols, request.rows);
        let snapshots: Vec<String> = snapshots(&mut *engine, &request.steps);
        writeln!(out, "{}", serde_json::to_string(&snapshots)?)?;
        out.flush()?;
    }

    Ok(())
}

/// Returns the snapshots in hexadecimal; they are empty after a panic of the engine.
fn snapshots(engine: &mut dyn Engine, steps: &[Option<Step>]) -> Vec<String> {
    let mut snapshots = Vec::new();
    let mut failed = false;
    for step in steps {
        let result = catch_unwind(AssertUnwindSafe(|| match step {
            _ if failed => Vec::new(),
            Some(Step::Output(hex)) => {
                engine.feed(&bytes(hex));
                Vec::new()
            }
            Some(Step::Size(cols, rows)) => {
                engine.resize(*cols, *rows);
                Vec::new()
            }
            None => engine.snapshot(),
        }));

        failed |= result.is_err();
        if step.is_none() {
            snapshots.push(hex(&result.unwrap_or_default()));
        }
    }

    snapshots
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |index: usize| &hex[2 * index..2 * index + 2];
    (0..hex.len() / 2).filter_map(|index| u8::from_str_radix(digits(index), 16).ok()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

struct Avt {
    terminal: avt::Terminal,
    /// The start of a character, since the engine takes only text.
    partial: Vec<u8>,
}

impl Avt {
    fn new(cols: u16, rows: u16) -> Self {
        let terminal = avt::Terminal::with_scrollback(cols.into(), rows.into(), Some(SCROLLBACK))
            .expect("the size is not zero");
        Self { terminal, partial: Vec::new() }
    }
}

impl Engine for Avt {
    fn feed(&mut self, output: &[u8]) {
        self.partial.extend(output);
        let end = match std::str::from_utf8(&self.partial) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.partial.len(),
        };

        let complete: Vec<u8> = self.partial.drain(..end).collect();
        self.terminal.feed(&*String::from_utf8_lossy(&complete));
    }

    fn resize(&mut self, cols: u16, rows: u16) {
        self.terminal.resize(cols.into(), rows.into());
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut dump = self.terminal.dump().into_bytes();
        dump.extend(&self.partial);
        dump
    }
}

struct ShpoolVterm(shpool_vterm::Term);

impl ShpoolVterm {
    fn new(cols: u16, rows: u16) -> Self {
        Self(shpool_vterm::Term::new(SCROLLBACK, Self::size(cols, rows)))
    }

    fn size(cols: u16, rows: u16) -> shpool_vterm::Size {
        shpool_vterm::Size { width: cols.into(), height: rows.into() }
    }
}

impl Engine for ShpoolVterm {
    fn feed(&mut self, output: &[u8]) {
        self.0.process(output);
    }

    fn resize(&mut self, cols: u16, rows: u16) {
        self.0.resize(Self::size(cols, rows));
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.contents(shpool_vterm::ContentRegion::All)
    }
}

struct Vt100(vt100::Parser);

impl Vt100 {
    fn new(cols: u16, rows: u16) -> Self {
        Self(vt100::Parser::new(at_least_one(rows), at_least_one(cols), SCROLLBACK))
    }
}

impl Engine for Vt100 {
    fn feed(&mut self, output: &[u8]) {
        self.0.process(output);
    }

    fn resize(&mut self, cols: u16, rows: u16) {
        self.0.set_size(at_least_one(rows), at_least_one(cols));
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.screen().state_formatted().into_bytes()
    }
}

fn at_least_one(cells: u16) -> NonZeroU16 {
    NonZeroU16::new(cells).unwrap_or(NonZeroU16::MIN)
}
