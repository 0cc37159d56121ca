//! The screen as its callers see it.

use std::fmt;

pub use crate::grid::history::ScrollbackLimits;
use crate::parser::Parser;
use crate::snapshot;
use crate::terminal::Terminal;
pub use export::{Export, ExportFormat};

mod export;
mod state;

/// Memory of the history of a screen that names no other bound.
const DEFAULT_SCROLLBACK_BYTES: usize = 16 * 1024 * 1024;

/// A terminal's size in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScreenSize {
    /// Columns; a screen has at least 2.
    pub cols: u16,
    /// Rows; a screen has at least 1.
    pub rows: u16,
}

/// The bytes that give a screen to a terminal of the same size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundedSnapshot {
    /// They begin with a full reset, and ask no query.
    pub bytes: Vec<u8>,
    /// Lines of the history, the oldest ones, that are not in them.
    pub history_omitted: usize,
}

/// What a terminal shows, kept up to date from the bytes that are printed to it.
///
/// ```
/// use rejoin_screen::{Screen, ScreenSize};
///
/// let size = ScreenSize { cols: 80, rows: 24 };
/// let mut screen = Screen::new(size, 1000);
/// screen.feed(b"\x1b[1mhello\x1b[m \x1b[");
///
/// let mut late = Screen::new(size, 1000);
/// late.feed(&screen.snapshot(100));
/// late.feed(b"31mworld");
/// assert!(late.text().starts_with("hello world"));
/// ```
///
/// It follows xterm.js 6 in every function of it, quirks included, so that a
/// viewer that was restored and one that never left go on alike. It interprets
/// nothing that xterm.js ignores, but for queries, which it answers.
#[derive(Clone)]
pub struct Screen {
    parser: Parser,
    terminal: Terminal,
}

/// Shows the complete state, a line for each row.
impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        state::describe(&self.parser, &self.terminal)
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Equal screens show the same, and go on alike whatever is fed to them.
impl PartialEq for Screen {
    fn eq(&self, other: &Self) -> bool {
        let [one, two] =
            [self, other].map(|screen| state::describe(&screen.parser, &screen.terminal));
        one == two
    }
}

impl Screen {
    /// Creates a blank screen that keeps at most `scrollback_lines` of history.
    pub fn new(size: ScreenSize, scrollback_lines: usize) -> Self {
        let scrollback =
            ScrollbackLimits { lines: scrollback_lines, bytes: DEFAULT_SCROLLBACK_BYTES };
        Self::with_scrollback(size, scrollback)
    }

    /// Creates a blank screen with this bound of its history.
    pub fn with_scrollback(size: ScreenSize, scrollback: ScrollbackLimits) -> Self {
        let (cols, rows) = cells(size);
        Self { parser: Parser::default(), terminal: Terminal::new(cols, rows, scrollback) }
    }

    /// Interprets output; any split of the bytes gives the same screen.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(rest) = self.step(bytes) {
            bytes = rest;
        }
    }

    /// Interprets a part of the output that takes well below a millisecond.
    ///
    /// Returns what is left for the next step, which may be needed even for no bytes; `None` when
    /// all is done. Until then only the size and the title are known.
    pub fn step<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.terminal.rest();
        if !self.terminal.go_on() {
            return Some(bytes);
        }
        let rest = self.parser.advance(bytes, &mut self.terminal);
        self.terminal.sweep();
        (!rest.is_empty()).then_some(rest)
    }

    /// Changes the size; the lines of the normal buffer are wrapped anew.
    ///
    /// Viewers wrap theirs alike, but what they had beyond the screen's
    /// scrollback may differ: send a snapshot after a change of columns.
    pub fn resize(&mut self, size: ScreenSize) {
        self.begin_resize(size);
        self.feed(b"");
    }

    /// Begins to change the size; the next [steps](Self::step) do the rest.
    pub fn begin_resize(&mut self, size: ScreenSize) {
        let (cols, rows) = cells(size);
        self.terminal.begin_resize(cols, rows);
    }

    /// The size in cells.
    pub fn size(&self) -> ScreenSize {
        let small = |cells: usize| u16::try_from(cells).unwrap_or(u16::MAX);
        ScreenSize { cols: small(self.terminal.cols), rows: small(self.terminal.rows) }
    }

    /// The title that the program set last, empty if none.
    pub fn title(&self) -> &str {
        &self.terminal.title
    }

    /// Takes the answers to queries since the last call, to be written to the PTY.
    ///
    /// One for each query that is understood, whoever is attached; so viewers
    /// must not answer any.
    pub fn take_answers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.terminal.answers)
    }

    /// Bytes that give this screen to a terminal of the same size.
    ///
    /// They begin with a full reset, ask no query, and may be taken after any
    /// byte: what follows in the output can follow them. The cost depends on
    /// the screen and on `history_lines`, the most lines above the screen.
    pub fn snapshot(&self, history_lines: usize) -> Vec<u8> {
        let mut bytes = snapshot::of(&self.terminal, history_lines);
        bytes.extend(self.parser.pending());
        bytes
    }

    /// The same in at most `max_bytes`, at least 128 KiB, with as much of the history as fits.
    ///
    /// A screen that does not fit is drawn without attributes, and if need be without the ends of
    /// its rows.
    pub fn snapshot_within(&self, max_bytes: usize) -> BoundedSnapshot {
        let pending = self.parser.pending();
        let (mut bytes, history_omitted) =
            snapshot::within(&self.terminal, max_bytes.saturating_sub(pending.len()));
        bytes.extend(pending);
        BoundedSnapshot { bytes, history_omitted }
    }

    /// The visible text, one line a row, without trailing blanks.
    pub fn text(&self) -> String {
        let chunks = Export::new(self.clone(), ExportFormat::Text).flatten().collect();
        String::from_utf8(chunks).unwrap_or_default()
    }

    /// What is visible as a `<pre>` with styles of its own, for a page or a mail.
    ///
    /// Whatever was printed: it holds no script, and no link but to `http://` and `https://`.
    pub fn html(&self) -> String {
        let chunks = Export::new(self.clone(), ExportFormat::Html).flatten().collect();
        String::from_utf8(chunks).unwrap_or_default()
    }

    /// A copy of the screen that is written in pieces; the history is shared, not copied.
    pub fn export(&self, format: ExportFormat) -> Export {
        Export::new(self.clone(), format)
    }
}

fn cells(size: ScreenSize) -> (usize, usize) {
    (usize::from(size.cols).max(2), usize::from(size.rows).max(1))
}
