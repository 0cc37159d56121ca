//! Reads requests as lines of JSON and writes the requested snapshots in hexadecimal.
//!
//! `{"cols":80,"rows":24,"output":"68656c6c6f","resize":[40,12],"then":"21","history":1000}`
//!
//! The screen is fed `output`, resized to `resize`, and fed `then`. `resize`, `then` and `history`
//! are optional. The tests in `xterm/` run this program.

use std::fmt::Write as _;
use std::io::{self, BufRead, Write};

use rejoin_screen::{Screen, ScreenSize};
use serde::Deserialize;

#[derive(Deserialize)]
struct Request {
    cols: u16,
    rows: u16,
    #[serde(default)]
    output: String,
    resize: Option<(u16, u16)>,
    #[serde(default)]
    then: String,
    history: Option<usize>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?)?;
        writeln!(out, "{}", answer(&request)?)?;
        out.flush()?;
    }

    Ok(())
}

fn answer(request: &Request) -> Result<String, std::num::ParseIntError> {
    const SCROLLBACK: usize = 1000;

    let size = ScreenSize { cols: request.cols, rows: request.rows };
    let mut screen = Screen::new(size, SCROLLBACK);
    screen.feed(&bytes(&request.output)?);

    if let Some((cols, rows)) = request.resize {
        screen.resize(ScreenSize { cols, rows });
    }

    screen.feed(&bytes(&request.then)?);
    let snapshot = screen.snapshot(request.history.unwrap_or(SCROLLBACK));
    Ok(snapshot.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

fn bytes(hex: &str) -> Result<Vec<u8>, std::num::ParseIntError> {
    (0..hex.len() / 2).map(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16)).collect()
}
