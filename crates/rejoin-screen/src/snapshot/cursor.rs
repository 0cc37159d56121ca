//! The end of a snapshot: the cursor, the pen and the last printed character.

use super::painter::Painter;
use crate::charsets::Charset;
use crate::terminal::Terminal;

/// Places the cursor. All modes must already be set.
pub(super) fn place(painter: &mut Painter, terminal: &Terminal) {
    if let Some((x, cell)) = terminal.last_printed() {
        go_to(painter, terminal, x);
        make_room(painter, terminal, cell.width());
        pen(painter, terminal);
        let typed = cell.char().and_then(|c| terminal.charsets.typed(c));
        return painter.characters(&terminal.extras, cell, typed);
    }

    let buffer = terminal.buffer();
    if buffer.x < terminal.cols {
        go_to(painter, terminal, buffer.x);
        return pen(painter, terminal);
    }

    restore_pending_wrap(painter, terminal);
    // Any sequence keeps the next character from combining with the reprinted one.
    painter.clear_pen();
    pen(painter, terminal);
}

/// Restores a pending wrap: reprints the last cell of the row.
///
/// Only printing a character at the margin brings a terminal into this state.
fn restore_pending_wrap(painter: &mut Painter, terminal: &Terminal) {
    let buffer = terminal.buffer();
    let row = &buffer.rows[buffer.y];
    let last = terminal.cols - 1;
    let x = last - usize::from(row.get(last).is_tail());
    let cell = row.get(x);
    let charsets = terminal.charsets;
    let mapped = cell.char().is_some_and(|c| charsets.map(c) != c);

    if !terminal.modes.alternate && (mapped || !cell.has_content()) {
        // The active set cannot print this cell. A pending wrap survives a switch of buffers,
        // however, so this prints a space on the alternate buffer, whose content is dropped.
        painter.bytes(b"\x1b[?47h");
        painter.go_to(last, buffer.y);
        return painter.bytes(b" \x1b[?47l");
    }

    go_to(painter, terminal, x);
    if !cell.has_content() {
        painter.set_pen_of(&terminal.extras, cell);
        painter.bytes(b" ");
        // Only erasing the whole row leaves a pending wrap at an empty cell: erases it again.
        return painter.bytes(b"\x1b[1K");
    }

    make_room(painter, terminal, cell.width());
    if mapped {
        painter.designate(charsets.shifted, Charset::Ascii);
    }

    painter.cell(&terminal.extras, cell);
    if mapped {
        painter.designate(charsets.shifted, charsets.active);
    }
}

/// Deletes the cells that a reprinted character will occupy, if insert mode would shift them.
fn make_room(painter: &mut Painter, terminal: &Terminal, width: usize) {
    if terminal.modes.insert {
        painter.text(&format!("\x1b[{width}P"));
    }
}

/// Moves the cursor to a column of its row.
fn go_to(painter: &mut Painter, terminal: &Terminal, x: usize) {
    let buffer = terminal.buffer();
    if !terminal.modes.origin {
        return painter.go_to(x, buffer.y);
    }

    if (buffer.top..=buffer.bottom).contains(&buffer.y) {
        return painter.go_to(x, buffer.y - buffer.top);
    }

    // In origin mode, only a switch of buffers can move the cursor outside the region.
    painter.bytes(b"\x1b[?47h");
    painter.go_to(x, buffer.y);
    painter.bytes(b"\x1b[?47l");
}

/// Sets the terminal's pen.
fn pen(painter: &mut Painter, terminal: &Terminal) {
    let pen = &terminal.pen;
    painter.set_pen(pen.attributes, pen.underline, pen.link.clone());
}
