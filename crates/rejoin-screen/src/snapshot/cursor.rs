//! The end of a snapshot: the cursor, the pen, and the character that was printed last.

use super::painter::Painter;
use crate::terminal::Terminal;
use crate::terminal::charsets::Charset;

/// Places the cursor when all modes are set.
pub(super) fn place(painter: &mut Painter, terminal: &Terminal) {
    if let Some((x, cell)) = terminal.last_printed() {
        go_to(painter, terminal, x);
        make_room(painter, terminal, cell.width());
        pen(painter, terminal);
        return painter.characters(&terminal.extras, cell);
    }
    let buffer = terminal.buffer();
    if buffer.x < terminal.cols {
        go_to(painter, terminal, buffer.x);
        return pen(painter, terminal);
    }
    wait_at_margin(painter, terminal);
    // The character must not be combined with the next one: any sequence sees to that.
    painter.clear_pen();
    pen(painter, terminal);
}

/// Prints the last cell of the row again, so that the next character wraps.
fn wait_at_margin(painter: &mut Painter, terminal: &Terminal) {
    let buffer = terminal.buffer();
    let row = &buffer.rows[buffer.y];
    let last = terminal.cols - 1;
    let x = last - usize::from(row.get(last).is_tail());
    let cell = row.get(x);
    let charsets = terminal.charsets;
    let mapped = cell.char().is_some_and(|c| charsets.map(c) != c);
    if !terminal.modes.alternate && (mapped || !cell.has_content()) {
        // Not to be printed as it is. But the cursor waits on the other buffer
        // too, and what is printed there is dropped.
        painter.bytes(b"\x1b[?47h");
        painter.go_to(last, buffer.y);
        return painter.bytes(b" \x1b[?47l");
    }
    go_to(painter, terminal, x);
    if !cell.has_content() {
        painter.cell_pen(&terminal.extras, cell);
        painter.bytes(b" ");
        // It was erased with its whole row, else the cursor would not wait.
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

/// In insert mode, what is printed again would shift the rest of the row.
fn make_room(painter: &mut Painter, terminal: &Terminal, width: usize) {
    if terminal.modes.insert {
        painter.text(&format!("\x1b[{width}P"));
    }
}

fn go_to(painter: &mut Painter, terminal: &Terminal, x: usize) {
    let buffer = terminal.buffer();
    if !terminal.modes.origin {
        return painter.go_to(x, buffer.y);
    }
    if (buffer.top..=buffer.bottom).contains(&buffer.y) {
        return painter.go_to(x, buffer.y - buffer.top);
    }
    // Outside its region a cursor gets only by coming from the other buffer.
    painter.bytes(b"\x1b[?47h");
    painter.go_to(x, buffer.y);
    painter.bytes(b"\x1b[?47l");
}

fn pen(painter: &mut Painter, terminal: &Terminal) {
    let pen = &terminal.pen;
    painter.style(pen.attributes, pen.underline, pen.link.clone());
}
