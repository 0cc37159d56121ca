//! Runs a program whose queries a terminal engine answers: `answers ours|xterm.js PROGRAM [ARG...]`.
//!
//! For test programs such as esctest. They read the screen with DECRQCRA, a checksum of a rectangle
//! that neither engine offers, so it is answered here, for the first character of the rectangle.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use pty_process::blocking::Command;
use rejoin_screen::{Screen, ScreenSize};
use rejoin_screen_engines::program::{Program, Received};

/// The size that esctest expects.
const SIZE: ScreenSize = ScreenSize { cols: 80, rows: 25 };
/// A program that prints nothing for this long is stopped.
const SILENCE: Duration = Duration::from_secs(20);
/// The engine xterm.js, as a program.
const XTERM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../xterm/answers.mjs");

/// An engine that answers queries.
trait Engine {
    /// Interprets output; returns the answers.
    fn feed(&mut self, output: &[u8]) -> anyhow::Result<Vec<u8>>;
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut engine: Box<dyn Engine> = match arguments.next().as_deref() {
        Some("ours") => Box::new(Ours { screen: Screen::new(SIZE, 1000), sequence: Vec::new() }),
        Some("xterm.js") => Box::new(Xterm::start()?),
        _ => bail!("usage: answers ours|xterm.js PROGRAM [ARG...]"),
    };

    let program = arguments.next().context("a program is missing")?;
    let command = Command::new(program).args(arguments).env("TERM", "xterm-256color");
    let program = Program::start(SIZE, command)?;
    loop {
        match program.receive(SILENCE) {
            Received::Output(output) => {
                let answers = engine.feed(&output)?;
                program.type_in(&answers).unwrap_or_default();
            }
            Received::End => return Ok(()),
            Received::Silence => bail!("the program printed nothing for {SILENCE:?}"),
        }
    }
}

struct Ours {
    screen: Screen,
    /// The control sequence that the output ends with, if any.
    sequence: Vec<u8>,
}

impl Engine for Ours {
    fn feed(&mut self, output: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut answers = Vec::new();
        for &byte in output {
            self.screen.feed(&[byte]);
            answers.extend(self.screen.take_answers());
            if byte == 0x1b {
                self.sequence.clear();
            }

            self.sequence.push(byte);
            if byte == b'y' {
                answers.extend(self.checksum().unwrap_or_default());
            }
        }

        Ok(answers)
    }
}

impl Ours {
    /// Returns the answer to DECRQCRA if it was the last sequence.
    fn checksum(&self) -> Option<Vec<u8>> {
        let sequence = std::str::from_utf8(&self.sequence).ok()?;
        let params = sequence.strip_prefix("\x1b[")?.strip_suffix("*y")?;
        let params: Vec<usize> = params.split(';').filter_map(|param| param.parse().ok()).collect();
        let &[id, _, top, left, ..] = &params[..] else { return None };
        let text = self.screen.text();
        let row = text.lines().nth(top.checked_sub(1)?).unwrap_or_default();
        let c = row.chars().nth(left.checked_sub(1)?).unwrap_or(' ');
        let sum = 0x1_0000_u32.wrapping_sub(u32::from(c)) & 0xffff;

        Some(format!("\x1bP{id}!~{sum:04X}\x1b\\").into_bytes())
    }
}

/// xterm.js in a process of its own: it receives the length of each output and the output, and answers
/// with the length of the answers and the answers.
struct Xterm {
    process: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Xterm {
    fn start() -> anyhow::Result<Self> {
        let mut process =
            Process::new("node").arg(XTERM).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take().context("the process has no input")?;
        let output = process.stdout.take().context("the process has no output")?;
        Ok(Self { process, input, output })
    }
}

impl Engine for Xterm {
    fn feed(&mut self, output: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.input.write_all(&u32::try_from(output.len())?.to_be_bytes())?;
        self.input.write_all(output)?;
        let mut length = [0; 4];
        self.output.read_exact(&mut length)?;
        let mut answers = vec![0; u32::from_be_bytes(length).try_into()?];
        self.output.read_exact(&mut answers)?;

        Ok(answers)
    }
}

impl Drop for Xterm {
    fn drop(&mut self) {
        // An error means that the process has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
