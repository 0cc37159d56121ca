//! Prints the speed of the screen beside alacritty_terminal, for ordinary and for hostile output.
//!
//! `cargo run --release` in this folder; an argument selects the inputs whose names contain it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use alacritty_terminal::Term;
use alacritty_terminal::event::VoidListener;
use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::term::Config;
use alacritty_terminal::vte::ansi::{Processor, StdSyncHandler};
use rejoin_screen::{Screen, ScreenSize};

/// The lines of history of both engines.
const HISTORY: usize = 10_000;
/// The size of an input, in bytes.
const INPUT_BYTES: usize = 96 * 1024;
/// The minimum duration of one measurement; the best of [`ROUNDS`] counts.
const DURATION: Duration = Duration::from_millis(40);
const ROUNDS: usize = 3;
const SIZES: [ScreenSize; 2] =
    [ScreenSize { cols: 80, rows: 24 }, ScreenSize { cols: 200, rows: 60 }];

/// A name, the output before the measurement, and the output to repeat.
const INPUTS: &[(&str, &str, &str)] = &[
    ("plain text", "", "The quick brown fox jumps over the lazy dog, twice on Sundays.\r\n"),
    ("short lines", "", "12345\r\n"),
    (
        "colours",
        "",
        "\x1b[31mred\x1b[0m \x1b[1;38;5;99mviolet\x1b[m and \x1b[48;2;1;2;3mdark\x1b[m\r\n",
    ),
    ("wide characters", "", "日本語のテキスト 🦀 漢字\r\n"),
    ("combining characters", "", "e\u{301}a\u{300}o\u{302}"),
    ("redraw", "", "\x1b[H\x1b[2KCPU 12%\x1b[5;10Hmemory\x1b[K\x1b[10;1H\x1b[7mstatus\x1b[m"),
    ("ESC # 8", "", "\x1b#8"),
    ("ESC # 8, coloured", "\x1b[41m", "\x1b#8"),
    ("ESC # 8 that scrolls", "", "\x1b#8\x1b[999H\n"),
    ("ESC [ 2 J that scrolls, coloured", "\x1b[41m", "\x1b[2J\x1b[999H\n"),
    ("ESC [ 99 L with text", "\x1b#8\x1b[5H", "\x1b[99L\x1b[60Gx"),
    ("alternate screen with text", "", "\x1b[?1049h\x1b[60Gx\x1b[?1049l"),
    ("ESC [ 2 J", "", "\x1b[2J"),
    ("ESC [ 2 J, coloured", "\x1b[41m", "\x1b[2J"),
    ("ESC [ J, coloured", "\x1b[41m\x1b[H", "\x1b[J"),
    ("ESC [ ? 2 J", "", "\x1b[?2J"),
    ("ESC [ 99 L", "\x1b[5H", "\x1b[99L"),
    ("ESC [ 99 L, coloured", "\x1b[41m\x1b[5H", "\x1b[99L"),
    ("ESC [ 99 M", "\x1b[5H", "\x1b[99M"),
    ("ESC [ 2 L", "\x1b[5H", "\x1b[2L"),
    ("ESC [ 99 S", "", "\x1b[99S"),
    ("ESC [ 99 T", "", "\x1b[99T"),
    ("ESC [ 99 X, coloured", "\x1b[41m", "\x1b[99X"),
    ("ESC [ 99 @", "x", "\x1b[99@"),
    ("ESC [ 9 P, full row", "\x1b#8", "\x1b[9P"),
    ("ESC [ 999 b", "", "x\x1b[999b"),
    ("ESC M", "", "\x1bM"),
    ("alternate screen", "", "\x1b[?1049h\x1b[?1049l"),
    ("alternate screen, coloured", "\x1b[41m", "\x1b[?1049h\x1b[?1049l"),
    ("ESC c", "", "\x1bc"),
    ("tabs", "", "\t\t\t\r"),
    ("titles", "", "\x1b]0;a title\x07"),
];

struct Size(ScreenSize);

impl Dimensions for Size {
    fn total_lines(&self) -> usize {
        self.screen_lines()
    }

    fn screen_lines(&self) -> usize {
        self.0.rows.into()
    }

    fn columns(&self) -> usize {
        self.0.cols.into()
    }
}

/// alacritty's engine.
struct Alacritty {
    term: Term<VoidListener>,
    parser: Processor<StdSyncHandler>,
}

impl Alacritty {
    fn new(size: ScreenSize) -> Self {
        let config = Config { scrolling_history: HISTORY, ..Config::default() };
        Self { term: Term::new(config, &Size(size), VoidListener), parser: Processor::new() }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.term, bytes);
    }
}

fn main() {
    let selected = std::env::args().nth(1).unwrap_or_default();
    println!("MB/s of output{:30} ours  alacritty  ratio", "");
    for size in SIZES {
        for (name, before, unit) in INPUTS.iter().filter(|(name, ..)| name.contains(&selected)) {
            let input = unit.repeat(INPUT_BYTES.div_ceil(unit.len()));
            let mut screen = Screen::new(size, HISTORY);
            screen.feed(before.as_bytes());
            let ours = megabytes_per_second(input.len(), || screen.feed(input.as_bytes()));

            let mut other = Alacritty::new(size);
            other.feed(before.as_bytes());
            let alacritty = megabytes_per_second(input.len(), || other.feed(input.as_bytes()));

            let ScreenSize { cols, rows } = size;
            let title = format!("{name}, {cols} × {rows}");
            println!("{title:40} {ours:8.1} {alacritty:10.1} {:6.2}", ours / alacritty);
        }
    }

    if "history".contains(&selected) {
        history();
    }
}

/// Prints the times of snapshots and rewraps of a full history.
fn history() {
    let size = SIZES[0];
    let line = "The quick brown fox jumps over the lazy dog, and then over the other dog, twice.";
    for (name, line) in [("plain", line.to_owned()), ("coloured", format!("\x1b[32m{line}\x1b[m"))]
    {
        let output = format!("{line} {line}\r\n").repeat(HISTORY / 3);
        let mut screen = Screen::new(size, HISTORY);
        screen.feed(output.as_bytes());
        let mut alacritty = Alacritty::new(size);
        alacritty.feed(output.as_bytes());

        let bytes = screen.snapshot(HISTORY).len();
        let speed = megabytes_per_second(bytes, || drop(black_box(screen.snapshot(HISTORY))));
        println!("snapshot of 10,000 {name} lines: {speed:.1} MB/s, {bytes} bytes");
        let bounded = milliseconds(|| drop(black_box(screen.snapshot_within(usize::MAX, 1 << 20))));
        println!("snapshot of 1 MiB with {name} lines: {bounded:.2} ms");

        for cols in [100, 60] {
            let size = ScreenSize { cols, ..size };
            let mut ours = f64::MAX;
            let mut other = f64::MAX;
            for _ in 0..ROUNDS {
                let mut screen = screen.clone();
                ours = ours.min(once(|| screen.resize(size)));
                other = other.min(once(|| alacritty.term.resize(Size(size))));
                alacritty.term.resize(Size(SIZES[0]));
            }
            println!(
                "10,000 {name} lines to {cols} columns: {ours:.2} ms, alacritty {other:.2} ms"
            );
        }
    }
}

fn megabytes_per_second(bytes: usize, run: impl FnMut()) -> f64 {
    bytes as f64 / 1000.0 / milliseconds(run)
}

/// Returns the duration of one run, the best mean of some rounds.
fn milliseconds(mut run: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut runs = 0;
        while start.elapsed() < DURATION {
            run();
            runs += 1;
        }
        best = best.min(start.elapsed().as_secs_f64() * 1000.0 / f64::from(runs));
    }
    best
}

fn once(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64() * 1000.0
}
