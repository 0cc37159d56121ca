//! Snapshots: the bytes that bring a new terminal to a screen's state.
//!
//! The order matters. The content comes first, while all modes have their initial state. Then come
//! the settings that move the cursor (tab stops, region, origin mode), then the other modes, and
//! finally the cursor. The character before the cursor may be printed again, because only printing
//! leaves a pending wrap, or a character that the next one may combine with.

mod cursor;
mod page;
mod painter;
mod settings;

use crate::grid::buffer::{Buffer, SavedCursor};
use crate::grid::cell::{Attributes, Cell};
use crate::grid::extras::Extras;
use crate::grid::row::Row;
use crate::terminal::{Terminal, keyboard::KeyboardFlags};
use page::fitting;
pub(crate) use page::page;
use painter::Painter;

/// The number of entries at which the table of history extras is cleared.
const MAX_EXTRAS: usize = 1024;
/// The maximum number of bytes that separate a row from the one above.
const ROW_BYTES: usize = 16;

/// Cancels any incomplete sequence, and resets the viewer.
const RESET: &[u8] = b"\x18\x1bc";
/// Resets the state that survives a reset of xterm.js: line feed mode and the palette.
const RESET_MORE: &[u8] = b"\x1b[20l\x1b]104\x07\x1b]110\x07\x1b]111\x07\x1b]112\x07";

/// Returns a snapshot with up to `history_lines`, without the parser's pending bytes.
pub(crate) fn unbounded(terminal: &Terminal, history_lines: usize) -> Vec<u8> {
    SnapshotWriter::new(terminal, history_lines, Painter::new(terminal.cols)).finish(terminal)
}

/// Returns a snapshot of at most `max_bytes` with up to `history_lines`, and the number of history
/// lines that it omits.
///
/// A screen that does not fit is drawn without attributes and, if necessary, with shortened rows.
pub(crate) fn bounded(
    terminal: &Terminal,
    history_lines: usize,
    max_bytes: usize,
) -> (Vec<u8>, usize) {
    let all = terminal.normal.history.len();
    let with_history = |lines| {
        SnapshotWriter::new(terminal, lines, Painter::new(terminal.cols))
            .finish_within(terminal, max_bytes)
    };

    // Tries without history first, because the screen itself has priority.
    let Some(screen) = with_history(0) else {
        let rows = terminal.normal.rows.len() + terminal.alternate.rows.len();
        let around = terminal.cols * ROW_BYTES + max_bytes / 8;
        let share = max_bytes.saturating_sub(around) / rows;
        let plain = Painter::plain(terminal.cols, share);
        return (SnapshotWriter::new(terminal, 0, plain).finish(terminal), all);
    };

    let (left, wanted) = (max_bytes - screen.len(), all.min(history_lines));
    // Packed lines are about as long as painted ones, so the estimate is often unnecessary.
    let is_small = terminal.normal.history.bytes() + wanted * ROW_BYTES < left;
    let mut lines =
        if is_small { wanted } else { fitting(terminal, all, wanted, (left, usize::MAX)) };
    // Both numbers are estimates. If they were too high, tries fewer lines.
    while lines > 0 {
        if let Some(bytes) = with_history(lines) {
            return (bytes, all - lines);
        }

        lines /= 2;
    }

    (screen, all)
}

/// A writer that produces a snapshot row by row.
#[derive(Debug)]
pub(crate) struct SnapshotWriter {
    painter: Painter,
    stage: SnapshotStage,
    /// The number of history lines to paint.
    history: usize,
    /// The last painted row, if the next one is painted below it.
    above: Option<Row>,
    /// The extras of history rows.
    extras: Extras,
}

/// The next part to write.
#[derive(Clone, Copy, Debug)]
enum SnapshotStage {
    Head,
    /// A history row, with the number of remaining ones.
    History(usize),
    /// A row of the normal buffer.
    Normal(usize),
    /// A row of the alternate buffer.
    Alternate(usize),
    Tail,
}

impl SnapshotWriter {
    /// Creates a writer that includes at most `history_lines`.
    pub(crate) fn new(terminal: &Terminal, history_lines: usize, painter: Painter) -> Self {
        let history = history_lines.min(terminal.normal.history.len());
        let extras = Extras::default();
        Self { painter, stage: SnapshotStage::Head, history, above: None, extras }
    }

    /// Creates a writer that includes the complete history.
    pub(crate) fn full(terminal: &Terminal) -> Self {
        Self::new(terminal, usize::MAX, Painter::new(terminal.cols))
    }

    /// Writes the snapshot.
    fn finish(mut self, terminal: &Terminal) -> Vec<u8> {
        while self.step(terminal) {}
        self.take()
    }

    /// Writes the snapshot. Returns `None` as soon as it exceeds `max_bytes`.
    fn finish_within(mut self, terminal: &Terminal, max_bytes: usize) -> Option<Vec<u8>> {
        while self.step(terminal) {
            if self.painter.len() > max_bytes {
                return None;
            }
        }
        Some(self.take()).filter(|bytes| bytes.len() <= max_bytes)
    }

    /// Returns the bytes written since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.painter.take()
    }

    /// Writes the next row. Returns `true` if more follow.
    ///
    /// Each call must pass the same, unchanged terminal.
    pub(crate) fn step(&mut self, terminal: &Terminal) -> bool {
        match self.stage {
            SnapshotStage::Head => {
                self.head(terminal);
                self.stage = SnapshotStage::History(self.history);
            }
            SnapshotStage::History(0) => self.stage = SnapshotStage::Normal(0),
            SnapshotStage::History(left) => {
                let line = terminal.normal.history.len() - left;
                self.history_row(terminal, line);

                self.stage = SnapshotStage::History(left - 1);
            }
            SnapshotStage::Normal(y) if y < painted(&terminal.normal, self.history) => {
                self.screen_row(terminal, &terminal.normal.rows[y]);
                self.stage = SnapshotStage::Normal(y + 1);
            }
            SnapshotStage::Normal(_) => {
                self.stage = self.after_normal(terminal);
            }
            SnapshotStage::Alternate(y) if y < painted(&terminal.alternate, 0) => {
                self.screen_row(terminal, &terminal.alternate.rows[y]);
                self.stage = SnapshotStage::Alternate(y + 1);
            }
            SnapshotStage::Alternate(_) => self.stage = SnapshotStage::Tail,
            SnapshotStage::Tail => {
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

        // The alternate buffer's saved cursor comes first, while there is no content to disturb.
        if !terminal.modes.alternate {
            hidden_saved_cursor(&mut self.painter, terminal.alternate.saved);
            hidden_keyboard_flags(&mut self.painter, &terminal.keyboard.alternate);
        }

        if continues(&terminal.normal, self.history) {
            self.painter.continue_on_next_row(&terminal.extras, Cell::BLANK);
        }
    }

    fn history_row(&mut self, terminal: &Terminal, line: usize) {
        let history = &terminal.normal.history;
        if self.extras.len() > MAX_EXTRAS {
            self.extras = Extras::default();
            // The row above still refers to the old table.
            let above = line.checked_sub(1).filter(|_| self.above.is_some());
            self.above = above.and_then(|line| history.row(line, terminal.cols, &mut self.extras));
        }

        if let Some(row) = history.row(line, terminal.cols, &mut self.extras) {
            let above = self.above.as_ref().map(|above| (&self.extras, above));
            self.painter.row(&self.extras, above, &row);
            self.above = Some(row);
        }
    }

    fn screen_row(&mut self, terminal: &Terminal, row: &Row) {
        let is_first = matches!(self.stage, SnapshotStage::Normal(0));
        let above_extras = if is_first { &self.extras } else { &terminal.extras };
        let above = self.above.as_ref().map(|above| (above_extras, above));
        self.painter.row(&terminal.extras, above, row);
        self.above = Some(row.clone());
    }

    fn after_normal(&mut self, terminal: &Terminal) -> SnapshotStage {
        let painter = &mut self.painter;
        if continues(&terminal.normal, self.history) {
            // Drops the blank row that `head` created for the first row to continue.
            painter.bytes(b"\x1b[3J");
        }

        if !terminal.modes.alternate {
            return SnapshotStage::Tail;
        }

        settings::keyboard_flags(painter, &terminal.keyboard.normal);
        settings::of_buffer(painter, &terminal.normal);
        saved_cursor(painter, terminal.normal.saved, b"\x1b[?1049h");
        if painter.background_is_set() {
            painter.set_pen(Attributes::default(), Default::default(), None);
            painter.bytes(b"\x1b[2J");
        }

        painter.bytes(b"\x1b[H");
        self.above = None;
        if continues(&terminal.alternate, 0) {
            painter.continue_on_next_row(&terminal.extras, Cell::BLANK);
        }

        SnapshotStage::Alternate(0)
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
        settings::keyboard_flags(painter, terminal.keyboard_flags());
        settings::keyboard(painter, &terminal.keyboard);
        cursor::place(painter, terminal);
    }
}

/// Returns `true` if the first row continues a row that is not painted.
fn continues(buffer: &Buffer, history: usize) -> bool {
    history == 0 && buffer.rows[0].wrapped
}

/// Returns the number of rows to paint.
///
/// These are all rows if history rows must scroll out above them, and otherwise only the used ones.
fn painted(buffer: &Buffer, history: usize) -> usize {
    if history > 0 || continues(buffer, history) {
        return buffer.rows.len();
    }
    let used = |row: &Row| row.wrapped || row.used_len() > 0;
    buffer.rows.iter().rposition(used).map_or(0, |last| last + 1)
}

/// Saves the cursor of a hidden alternate buffer, which outlives the buffer's rows.
fn hidden_saved_cursor(painter: &mut Painter, saved: SavedCursor) {
    if !saved.is_initial() {
        painter.bytes(b"\x1b[?47h");
        saved_cursor(painter, saved, b"\x1b7");
        painter.set_pen(Attributes::default(), Default::default(), None);
        painter.bytes(b"\x1b[?47l\x1b[H");
    }
}

/// Sets the keyboard flags of a hidden alternate buffer.
fn hidden_keyboard_flags(painter: &mut Painter, flags: &KeyboardFlags) {
    if *flags != KeyboardFlags::default() {
        painter.bytes(b"\x1b[?47h");
        settings::keyboard_flags(painter, flags);
        painter.bytes(b"\x1b[?47l");
    }
}

/// Moves to the saved cursor and saves it with `sequence`.
fn saved_cursor(painter: &mut Painter, saved: SavedCursor, sequence: &[u8]) {
    // Clamps a position that only a larger screen would reveal, as DECRC does.
    painter.go_to(saved.x.min(painter.cols() - 1), saved.row());
    painter.set_pen(saved.attributes, Default::default(), None);
    painter.designate(0, saved.charset);
    painter.bytes(sequence);
    painter.designate(0, Default::default());
}

/// Returns `true` if the scroll region covers the whole screen.
pub(crate) fn has_default_region(buffer: &Buffer, rows: usize) -> bool {
    (buffer.top, buffer.bottom) == (0, rows - 1)
}
