//! The screen as its callers see it.

use std::fmt;

use crate::grid::row::Row;
use crate::html;
use crate::parser::Parser;
use crate::snapshot;
use crate::terminal::Terminal;

mod state;

/// A terminal's size in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns; a screen has at least 2.
    pub cols: u16,
    /// Rows; a screen has at least 1.
    pub rows: u16,
}

/// What a terminal shows, kept up to date from the bytes that are printed to it.
///
/// ```
/// use rejoin_screen::{Screen, Size};
///
/// let size = Size { cols: 80, rows: 24 };
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
    pub fn new(size: Size, scrollback_lines: usize) -> Self {
        let (cols, rows) = cells(size);
        Self { parser: Parser::default(), terminal: Terminal::new(cols, rows, scrollback_lines) }
    }

    /// Interprets output; any split of the bytes gives the same screen.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.parser.advance(bytes, &mut self.terminal);
        self.terminal.sweep();
    }

    /// Changes the size; the lines of the normal buffer are wrapped anew.
    ///
    /// Viewers wrap theirs alike, but what they had beyond the screen's
    /// scrollback may differ: send a snapshot after a change of columns.
    pub fn resize(&mut self, size: Size) {
        let (cols, rows) = cells(size);
        self.terminal.resize(cols, rows);
        self.terminal.sweep();
    }

    /// The size in cells.
    pub fn size(&self) -> Size {
        let small = |cells: usize| u16::try_from(cells).unwrap_or(u16::MAX);
        Size { cols: small(self.terminal.cols), rows: small(self.terminal.rows) }
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

    /// The visible text, one line a row, without trailing blanks.
    pub fn text(&self) -> String {
        let rows: Vec<String> =
            self.terminal.buffer().rows.iter().map(|row| self.row(row)).collect();
        rows.join("\n")
    }

    /// What is visible as a `<pre>` with styles of its own, for a page or a mail.
    ///
    /// Whatever was printed: it holds no script, and no link but to `http://` and `https://`.
    pub fn html(&self) -> String {
        html::of(&self.terminal)
    }

    fn row(&self, row: &Row) -> String {
        let mut text = String::new();
        for &cell in row.cells().iter().filter(|cell| !cell.is_tail()) {
            text.push(cell.char().unwrap_or(' '));
            text.push_str(self.terminal.extras.combining(cell));
        }
        text.truncate(text.trim_end().len());
        text
    }
}

fn cells(size: Size) -> (usize, usize) {
    (usize::from(size.cols).max(2), usize::from(size.rows).max(1))
}
