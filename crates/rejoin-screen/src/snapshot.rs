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
use crate::grid::row::Row;
use crate::terminal::Terminal;
use painter::Painter;

/// Cancels a sequence that the viewer may be in, and resets it.
const RESET: &[u8] = b"\x18\x1bc";
/// What a reset leaves in xterm.js: line feed mode and the palette.
const RESET_MORE: &[u8] = b"\x1b[20l\x1b]104\x07\x1b]110\x07\x1b]111\x07\x1b]112\x07";

/// All but the bytes that the parser holds.
pub(crate) fn of(terminal: &Terminal, history_lines: usize) -> Vec<u8> {
    let mut extras = terminal.extras.clone();
    let normal = &terminal.normal;
    let mut rows = normal.history.newest(history_lines, terminal.cols, &mut extras);
    let history = rows.len();
    rows.extend_from_slice(&normal.rows);

    let mut painter = Painter::new(terminal.cols, &extras);
    painter.bytes(RESET);
    painter.bytes(RESET_MORE);
    settings::title_and_palette(&mut painter, terminal);
    if !terminal.modes.alternate {
        hidden_saved_cursor(&mut painter, terminal.alternate.saved);
    }
    paint(&mut painter, &rows, history);
    if history == 0 && rows[0].wrapped {
        // The line that row was made to continue.
        painter.bytes(b"\x1b[3J");
    }
    if terminal.modes.alternate {
        settings::of_buffer(&mut painter, normal);
        saved_cursor(&mut painter, normal.saved, b"\x1b[?1049h");
        if painter.background_is_set() {
            painter.pen(Attributes::default());
            painter.bytes(b"\x1b[2J");
        }
        painter.bytes(b"\x1b[H");
        paint(&mut painter, &terminal.alternate.rows, 0);
    }
    let buffer = terminal.buffer();
    settings::of_buffer(&mut painter, buffer);
    if !buffer.saved.is_initial() {
        saved_cursor(&mut painter, buffer.saved, b"\x1b7");
    }
    settings::charsets(&mut painter, terminal);
    settings::modes(&mut painter, &terminal.modes);
    cursor::place(&mut painter, terminal);
    painter.finish()
}

/// The saved cursor of the alternate buffer outlives its rows.
fn hidden_saved_cursor(painter: &mut Painter<'_>, saved: SavedCursor) {
    if !saved.is_initial() {
        painter.bytes(b"\x1b[?47h");
        saved_cursor(painter, saved, b"\x1b7");
        painter.pen(Attributes::default());
        painter.bytes(b"\x1b[?47l\x1b[H");
    }
}

/// Goes where the saved cursor is, and saves it by `sequence`.
fn saved_cursor(painter: &mut Painter<'_>, saved: SavedCursor, sequence: &[u8]) {
    painter.go_to(saved.x, saved.row());
    painter.pen(saved.attributes);
    painter.designate(0, saved.charset);
    painter.bytes(sequence);
    painter.designate(0, Default::default());
}

/// Paints rows from the top of a blank screen; those above the last screenful scroll out.
fn paint(painter: &mut Painter<'_>, rows: &[Row], history: usize) {
    let continues = history == 0 && rows[0].wrapped;
    if continues {
        painter.continue_on_next_row(Cell::BLANK);
    }
    let scrolls = history > 0 || continues;
    let used = |row: &Row| row.wrapped || row.used_len() > 0;
    let last = rows.iter().rposition(used).map_or(0, |last| last + 1);
    let count = if scrolls { rows.len() } else { last };
    let mut above = None;
    for row in &rows[..count] {
        painter.row(above, row);
        above = Some(row);
    }
}

/// A buffer's own settings are those of a fresh one.
pub(crate) fn has_default_region(buffer: &Buffer, rows: usize) -> bool {
    (buffer.top, buffer.bottom) == (0, rows - 1)
}
