//! The bytes that give a screen to a fresh terminal.
//!
//! The order matters: content first, while all modes are in their initial
//! state; then what moves the cursor (tab stops, region, origin mode); then the
//! other modes; at last the cursor, and if need be the character before it once
//! more, because a cursor that waits at the margin and a character that may be
//! combined or repeated are states that only printing brings about.

mod cursor;
mod painter;
mod settings;
pub(crate) mod sgr;

use crate::grid::buffer::{Buffer, SavedCursor};
use crate::grid::cell::{Attributes, Cell};
use crate::grid::extras::Extras;
use crate::grid::row::Row;
use crate::terminal::Terminal;
use painter::Painter;

/// Extras of the history's rows that are looked up before they are forgotten.
const MAX_EXTRAS: usize = 1024;
/// What is added to a row of the history at most when it follows another one.
const ROW_BYTES: usize = 16;
const WRAPPED_ROW_BYTES: usize = 64;

/// Cancels a sequence that the viewer may be in, and resets it.
const RESET: &[u8] = b"\x18\x1bc";
/// What a reset leaves in xterm.js: line feed mode and the palette.
const RESET_MORE: &[u8] = b"\x1b[20l\x1b]104\x07\x1b]110\x07\x1b]111\x07\x1b]112\x07";

/// All but the bytes that the parser holds, with so many lines of history.
pub(crate) fn of(terminal: &Terminal, history_lines: usize) -> Vec<u8> {
    Sequence::new(terminal, history_lines, Painter::new(terminal.cols)).whole(terminal)
}

/// The same in at most `max_bytes`, with as much of the history as fits, and its lines that do not.
///
/// A screen that does not fit is drawn without attributes, and if need be without the ends of
/// its rows.
pub(crate) fn within(terminal: &Terminal, max_bytes: usize) -> (Vec<u8>, usize) {
    let all = terminal.normal.history.len();
    let bounded = |lines| {
        Sequence::new(terminal, lines, Painter::new(terminal.cols)).bounded(terminal, max_bytes)
    };
    let Some(screen) = bounded(0) else {
        let rows = terminal.normal.rows.len() + terminal.alternate.rows.len();
        let around = terminal.cols * ROW_BYTES + max_bytes / 8;
        let share = max_bytes.saturating_sub(around) / rows;
        let plain = Painter::plain(terminal.cols, share);
        return (Sequence::new(terminal, 0, plain).whole(terminal), all);
    };
    let mut lines = fitting(terminal, max_bytes - screen.len());
    while lines > 0 {
        if let Some(bytes) = bounded(lines) {
            return (bytes, all - lines);
        }
        lines /= 2;
    }
    (screen, all)
}

/// The newest lines of the history that take about so many bytes.
fn fitting(terminal: &Terminal, max_bytes: usize) -> usize {
    let history = &terminal.normal.history;
    let mut extras = Extras::default();
    let mut bytes = 0;
    for line in (0..history.len()).rev() {
        let Some(row) = history.row(line, terminal.cols, &mut extras) else { break };
        let mut painter = Painter::new(terminal.cols);
        painter.row(&extras, None, &row);
        let around = if row.wrapped { WRAPPED_ROW_BYTES } else { ROW_BYTES };
        bytes += painter.take().len() + around;
        if bytes > max_bytes {
            return history.len() - line - 1;
        }
        if extras.len() > MAX_EXTRAS {
            extras = Extras::default();
        }
    }
    history.len()
}

/// A snapshot that is written row by row.
#[derive(Debug)]
pub(crate) struct Sequence {
    painter: Painter,
    stage: Stage,
    /// Lines of the history that are painted.
    history: usize,
    /// The row that was painted last, if the next one is painted below it.
    above: Option<Row>,
    /// The extras of the row above, if it is of the history.
    extras: Extras,
}

/// What is written next.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Head,
    /// This many lines of the history are left.
    History(usize),
    /// The row of the normal buffer.
    Normal(usize),
    /// The row of the alternate buffer.
    Alternate(usize),
    Tail,
}

impl Sequence {
    /// With at most so many lines of history.
    pub(crate) fn new(terminal: &Terminal, history_lines: usize, painter: Painter) -> Self {
        let history = history_lines.min(terminal.normal.history.len());
        let extras = Extras::default();
        Self { painter, stage: Stage::Head, history, above: None, extras }
    }

    /// All of it, history included, without bounds.
    pub(crate) fn full(terminal: &Terminal) -> Self {
        Self::new(terminal, usize::MAX, Painter::new(terminal.cols))
    }

    fn whole(mut self, terminal: &Terminal) -> Vec<u8> {
        while self.step(terminal) {}
        self.take()
    }

    /// The same, unless it takes more bytes; then it stops at the row that is too much.
    fn bounded(mut self, terminal: &Terminal, max_bytes: usize) -> Option<Vec<u8>> {
        while self.step(terminal) {
            if self.painter.len() > max_bytes {
                return None;
            }
        }
        Some(self.take()).filter(|bytes| bytes.len() <= max_bytes)
    }

    /// What was written since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.painter.take()
    }

    /// Writes the next row; returns whether there is more. The terminal is the same each time.
    pub(crate) fn step(&mut self, terminal: &Terminal) -> bool {
        match self.stage {
            Stage::Head => {
                self.head(terminal);
                self.stage = Stage::History(self.history);
            }
            Stage::History(0) => self.stage = Stage::Normal(0),
            Stage::History(left) => {
                let line = terminal.normal.history.len() - left;
                if self.extras.len() > MAX_EXTRAS {
                    self.extras = Extras::default();
                }
                let row = terminal.normal.history.row(line, terminal.cols, &mut self.extras);
                if let Some(row) = row {
                    self.painter.row(&self.extras, self.above.as_ref(), &row);
                    self.above = Some(row);
                }
                self.stage = Stage::History(left - 1);
            }
            Stage::Normal(y) if y < painted(&terminal.normal, self.history) => {
                self.screen_row(terminal, &terminal.normal.rows[y]);
                self.stage = Stage::Normal(y + 1);
            }
            Stage::Normal(_) => {
                self.stage = self.after_normal(terminal);
            }
            Stage::Alternate(y) if y < painted(&terminal.alternate, 0) => {
                self.screen_row(terminal, &terminal.alternate.rows[y]);
                self.stage = Stage::Alternate(y + 1);
            }
            Stage::Alternate(_) => self.stage = Stage::Tail,
            Stage::Tail => {
                self.tail(terminal);
                return false;
            }
        }
        true
    }

    fn head(&mut self, terminal: &Terminal) {
        self.painter.bytes(RESET);
        self.painter.bytes(RESET_MORE);
        settings::title_and_palette(&mut self.painter, terminal);
        if !terminal.modes.alternate {
            hidden_saved_cursor(&mut self.painter, terminal.alternate.saved);
        }
        if continues(&terminal.normal, self.history) {
            self.painter.continue_on_next_row(&terminal.extras, Cell::BLANK);
        }
    }

    fn screen_row(&mut self, terminal: &Terminal, row: &Row) {
        self.painter.row(&terminal.extras, self.above.as_ref(), row);
        self.above = Some(row.clone());
    }

    fn after_normal(&mut self, terminal: &Terminal) -> Stage {
        let painter = &mut self.painter;
        if continues(&terminal.normal, self.history) {
            // The line that row was made to continue.
            painter.bytes(b"\x1b[3J");
        }
        if !terminal.modes.alternate {
            return Stage::Tail;
        }
        settings::of_buffer(painter, &terminal.normal);
        saved_cursor(painter, terminal.normal.saved, b"\x1b[?1049h");
        if painter.background_is_set() {
            painter.style(Attributes::default(), Default::default(), None);
            painter.bytes(b"\x1b[2J");
        }
        painter.bytes(b"\x1b[H");
        self.above = None;
        if continues(&terminal.alternate, 0) {
            painter.continue_on_next_row(&terminal.extras, Cell::BLANK);
        }
        Stage::Alternate(0)
    }

    fn tail(&mut self, terminal: &Terminal) {
        let painter = &mut self.painter;
        painter.draw_attributes();
        let buffer = terminal.buffer();
        settings::of_buffer(painter, buffer);
        if !buffer.saved.is_initial() {
            saved_cursor(painter, buffer.saved, b"\x1b7");
        }
        settings::charsets(painter, terminal);
        settings::modes(painter, &terminal.modes);
        cursor::place(painter, terminal);
    }
}

/// The first row is one that continues another which is not painted.
fn continues(buffer: &Buffer, history: usize) -> bool {
    history == 0 && buffer.rows[0].wrapped
}

/// How many rows are painted: all if others scroll out above them, else the used ones.
fn painted(buffer: &Buffer, history: usize) -> usize {
    if history > 0 || continues(buffer, history) {
        return buffer.rows.len();
    }
    let used = |row: &Row| row.wrapped || row.used_len() > 0;
    buffer.rows.iter().rposition(used).map_or(0, |last| last + 1)
}

/// The saved cursor of the alternate buffer outlives its rows.
fn hidden_saved_cursor(painter: &mut Painter, saved: SavedCursor) {
    if !saved.is_initial() {
        painter.bytes(b"\x1b[?47h");
        saved_cursor(painter, saved, b"\x1b7");
        painter.style(Attributes::default(), Default::default(), None);
        painter.bytes(b"\x1b[?47l\x1b[H");
    }
}

/// Goes where the saved cursor is, and saves it by `sequence`.
fn saved_cursor(painter: &mut Painter, saved: SavedCursor, sequence: &[u8]) {
    painter.go_to(saved.x, saved.row());
    painter.style(saved.attributes, Default::default(), None);
    painter.designate(0, saved.charset);
    painter.bytes(sequence);
    painter.designate(0, Default::default());
}

/// A buffer's own settings are those of a fresh one.
pub(crate) fn has_default_region(buffer: &Buffer, rows: usize) -> bool {
    (buffer.top, buffer.bottom) == (0, rows - 1)
}
