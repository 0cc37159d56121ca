//! The public interface of a screen.

use std::fmt;

pub use crate::grid::history::ScrollbackLimits;
use crate::parser::Parser;
use crate::snapshot;
use crate::terminal::Terminal;
pub use export::{Export, ExportFormat};

mod export;
mod state;

/// The default memory limit of the history.
const DEFAULT_SCROLLBACK_BYTES: usize = 16 * 1024 * 1024;

/// A terminal's size in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScreenSize {
    /// The number of columns. At least 2.
    pub cols: u16,
    /// The number of rows. At least 1.
    pub rows: u16,
}

/// A snapshot of limited size. See [`Screen::snapshot_within`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundedSnapshot {
    /// The snapshot. It starts with a full reset and contains no queries.
    pub bytes: Vec<u8>,
    /// The number of history lines, the oldest ones, that the snapshot omits.
    pub history_omitted: usize,
}

/// The lines of a history, numbered from 0 at the start of the terminal's life.
///
/// A number is never reused for another line. Rows that return from the history to a taller screen
/// later re-enter it under the same numbers. A change of columns renumbers all lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRange {
    /// The number of changes of columns. Line numbers of another generation are void.
    pub generation: u32,
    /// The number of the oldest line.
    pub first: u64,
    /// The number after the newest line, which the screen's first row will get.
    pub end: u64,
}

/// Consecutive lines of the history. See [`Screen::history_page`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// All lines of the history.
    pub range: HistoryRange,
    /// The number of the page's first line.
    pub from: u64,
    /// The number after the page's last line.
    pub to: u64,
    /// `true` if the first row continues the line before the page.
    pub continues: bool,
    /// The bytes that draw the lines on an empty terminal with as many columns as the screen.
    pub data: String,
}

/// The screen of a terminal, updated from a program's output.
///
/// A snapshot may be taken after any byte, here inside an escape sequence:
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
/// The screen behaves like xterm.js 6, quirks included, so that a restored viewer continues exactly
/// like one that never disconnected. It ignores everything that xterm.js ignores, except for
/// queries, which it answers.
#[derive(Clone)]
pub struct Screen {
    parser: Parser,
    terminal: Terminal,
}

/// Writes the complete state, one line for each row.
impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        state::describe(&self.parser, &self.terminal)
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Equal screens display the same, now and after any further output.
impl PartialEq for Screen {
    fn eq(&self, other: &Self) -> bool {
        let [one, two] =
            [self, other].map(|screen| state::describe(&screen.parser, &screen.terminal));
        one == two
    }
}

impl Screen {
    /// Creates a blank screen that keeps up to `scrollback_lines` of history in up to 16 MiB.
    pub fn new(size: ScreenSize, scrollback_lines: usize) -> Self {
        let scrollback =
            ScrollbackLimits { lines: scrollback_lines, bytes: DEFAULT_SCROLLBACK_BYTES };
        Self::with_scrollback(size, scrollback)
    }

    /// Creates a blank screen with these limits for the history.
    pub fn with_scrollback(size: ScreenSize, scrollback: ScrollbackLimits) -> Self {
        let (cols, rows) = cells(size);
        Self { parser: Parser::default(), terminal: Terminal::new(cols, rows, scrollback) }
    }

    /// Interprets output, which may be split at any byte.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(rest) = self.step(bytes) {
            bytes = rest;
        }
    }

    /// Interprets part of the output, which takes well below a millisecond.
    ///
    /// Returns the rest for the next step, which may be an empty slice, or `None` once everything
    /// is done. Until then, only the size and the title are valid.
    pub fn step<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.terminal.begin_step();
        if !self.terminal.continue_reflow() {
            return Some(bytes);
        }

        // Sweeps after the output, because between steps all extras in use are in cells or the pen.
        let rest = self.parser.advance(bytes, &mut self.terminal);
        self.terminal.sweep();
        (!rest.is_empty()).then_some(rest)
    }

    /// Changes the size and rewraps the lines of the normal buffer.
    ///
    /// Viewers rewrap the same way, but their scrollback may be longer than the screen's. Send them
    /// a snapshot after a change of columns.
    pub fn resize(&mut self, size: ScreenSize) {
        self.begin_resize(size);
        self.feed(b"");
    }

    /// Starts a change of size. The next [steps](Self::step) finish it.
    pub fn begin_resize(&mut self, size: ScreenSize) {
        let (cols, rows) = cells(size);
        self.terminal.begin_resize(cols, rows);
    }

    /// Returns the size.
    pub fn size(&self) -> ScreenSize {
        let small = |cells: usize| u16::try_from(cells).unwrap_or(u16::MAX);
        ScreenSize { cols: small(self.terminal.cols), rows: small(self.terminal.rows) }
    }

    /// Returns the title that the program has set, or an empty string.
    pub fn title(&self) -> &str {
        &self.terminal.title
    }

    /// Returns the answers to queries since the last call. The caller must write them to the PTY.
    ///
    /// Each known query gets exactly one answer, so viewers must not answer any queries.
    pub fn take_answers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.terminal.answers)
    }

    /// Returns the bytes that bring a terminal of the same size to this state.
    ///
    /// The snapshot starts with a full reset and contains no queries. It can be taken after any
    /// byte of output, and the rest of the output continues it. The cost depends on the screen and
    /// on `history_lines`, not on the output so far.
    pub fn snapshot(&self, history_lines: usize) -> Vec<u8> {
        let mut bytes = snapshot::unbounded(&self.terminal, history_lines);
        // Comes last, because an incomplete sequence continues in the output after the snapshot.
        bytes.extend(self.parser.pending());
        bytes
    }

    /// Returns a snapshot of at most `max_bytes`, with as many of `history_lines` as fit.
    ///
    /// ```
    /// use rejoin_screen::{Screen, ScreenSize};
    ///
    /// let mut screen = Screen::new(ScreenSize { cols: 80, rows: 24 }, 10_000);
    /// screen.feed("a line\r\n".repeat(1000).as_bytes());
    ///
    /// let snapshot = screen.snapshot_within(usize::MAX, 128 * 1024);
    /// assert!(snapshot.bytes.len() <= 128 * 1024);
    /// assert_eq!(snapshot.history_omitted, 0);
    /// ```
    ///
    /// `max_bytes` must be at least 128 KiB. A screen that does not fit is drawn without attributes
    /// and, if necessary, with shortened rows.
    pub fn snapshot_within(&self, history_lines: usize, max_bytes: usize) -> BoundedSnapshot {
        let pending = self.parser.pending();
        let max_bytes = max_bytes.saturating_sub(pending.len());
        let (mut bytes, history_omitted) =
            snapshot::bounded(&self.terminal, history_lines, max_bytes);
        bytes.extend(pending);
        BoundedSnapshot { bytes, history_omitted }
    }

    /// Returns the range of the history's lines.
    pub fn history(&self) -> HistoryRange {
        let history = &self.terminal.normal.history;
        let first = history.oldest() as u64;
        let end = first + history.len() as u64;
        HistoryRange { generation: self.terminal.rewraps, first, end }
    }

    /// Returns the newest history lines before the line `before`, in at most `max_bytes`.
    ///
    /// The cost only depends on the page. The page is not empty if a line precedes `before` and
    /// `max_lines` is not 0. A line over `max_bytes` is drawn without attributes and, if necessary,
    /// shortened.
    ///
    /// ```
    /// use rejoin_screen::{Screen, ScreenSize};
    ///
    /// let mut screen = Screen::new(ScreenSize { cols: 80, rows: 24 }, 10_000);
    /// screen.feed(b"a line\r\n".repeat(1000).as_slice());
    ///
    /// let end = screen.history().end;
    /// let page = screen.history_page(end, 2, 64 * 1024);
    /// assert_eq!((page.from, page.to), (end - 2, end));
    /// assert_eq!(page.data, "a line\r\na line");
    /// ```
    pub fn history_page(&self, before: u64, max_lines: usize, max_bytes: usize) -> HistoryPage {
        let range = self.history();
        let to = before.clamp(range.first, range.end);
        let end = usize::try_from(to - range.first).unwrap_or(usize::MAX);
        let page = snapshot::page(&self.terminal, end, max_lines, max_bytes);

        HistoryPage {
            range,
            from: range.first + page.first as u64,
            to,
            continues: page.continues,
            // The painter only writes UTF-8.
            data: String::from_utf8(page.bytes).unwrap_or_default(),
        }
    }

    /// Returns the visible text, one line per row, without trailing blanks.
    pub fn text(&self) -> String {
        let chunks = Export::new(self.clone(), ExportFormat::Text).flatten().collect();
        String::from_utf8(chunks).unwrap_or_default()
    }

    /// Returns the visible screen as a self-contained `<pre>` element, for a page or an e-mail.
    ///
    /// Whatever the program printed, the element contains no scripts, and only links to `http://`
    /// and `https://`.
    pub fn html(&self) -> String {
        let chunks = Export::new(self.clone(), ExportFormat::Html).flatten().collect();
        String::from_utf8(chunks).unwrap_or_default()
    }

    /// Returns a copy of the screen that can be written in pieces.
    ///
    /// The history is shared, not copied.
    pub fn export(&self, format: ExportFormat) -> Export {
        Export::new(self.clone(), format)
    }
}

fn cells(size: ScreenSize) -> (usize, usize) {
    // A wide character takes two columns.
    (usize::from(size.cols).max(2), usize::from(size.rows).max(1))
}
