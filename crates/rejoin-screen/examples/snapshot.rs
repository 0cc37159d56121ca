//! Reads requests as lines of JSON and writes the requested snapshots in hexadecimal.
//!
//! `{"cols":80,"rows":24,"steps":["68656c6c6f",[40,12],"21",null],"history":1000}`
//!
//! A step is output in hexadecimal, a new size, or `null` for a snapshot. `history` is optional. The
//! answer is an array of the snapshots. The tests in `xterm/` run this program.

use std::fmt::Write as _;
use std::io::{self, BufRead, Write};

use rejoin_screen::{Screen, ScreenSize};
use serde::Deserialize;

#[derive(Deserialize)]
struct Request {
    cols: u16,
    rows: u16,
    /// `None` takes a snapshot.
    steps: Vec<Option<Step>>,
    history: Option<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Step {
    Output(String),
    Size(u16, u16),
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?)?;
        writeln!(out, "{}", serde_json::to_string(&answer(&request)?)?)?;
        out.flush()?;
    }

    Ok(())
}

fn answer(request: &Request) -> Result<Vec<String>, std::num::ParseIntError> {
    const SCROLLBACK: usize = 1000;

    let size = ScreenSize { cols: request.cols, rows: request.rows };
    let mut screen = Screen::new(size, SCROLLBACK);
    let mut snapshots = Vec::new();
    for step in &request.steps {
        match step {
            Some(Step::Output(output)) => screen.feed(&bytes(output)?),
            Some(Step::Size(cols, rows)) => screen.resize(ScreenSize { cols: *cols, rows: *rows }),
            None => snapshots.push(hex(&screen.snapshot(request.history.unwrap_or(SCROLLBACK)))),
        }
    }

    Ok(snapshots)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn bytes(hex: &str) -> Result<Vec<u8>, std::num::ParseIntError> {
    (0..hex.len() / 2).map(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16)).collect()
}
