//! Printing: wide and combining characters, the wait at the margin, insert mode.

use super::Terminal;
use super::charsets::Charset;
use super::cursor::active;
use crate::grid::cell::Cell;
use crate::width;

/// Characters that REP prints at most: a few rows. No program repeats across the end of a row.
const REPEAT_LIMIT: usize = 4096;
/// A character that is printed alone takes about the time of so many that are printed as text.
const CHARACTER_WORK: usize = 8;

impl Terminal {
    /// Prints ASCII, a row's part at a time.
    pub(super) fn print_text(&mut self, mut text: &[u8]) {
        let charset = self.charsets.active;
        if charset != Charset::Ascii || self.modes.insert || !self.modes.autowrap {
            text.iter().for_each(|&byte| self.print_char(charset.map(byte)));
            return;
        }
        let attributes = self.pen.attributes;
        while !text.is_empty() {
            if self.buffer().x >= self.cols {
                self.wrap();
            }
            let cols = self.cols;
            let buffer = self.buffer_mut();
            let x = buffer.x;
            let (part, rest) = text.split_at(text.len().min(cols - x));
            let row = &mut buffer.rows[buffer.y];
            let end = x + part.len();
            row.break_before(x, Cell::empty(attributes));
            for (cell, &byte) in row.span(x..end).iter_mut().zip(part) {
                *cell = Cell::new(char::from(byte), 1, attributes);
            }
            row.mend_right(end, attributes);
            buffer.x = end;
            self.work += part.len();
            text = rest;
        }
        self.preceding = 1;
    }

    pub(super) fn print_char(&mut self, c: char) {
        self.work += CHARACTER_WORK;
        let width = width::of(c);
        if width == 0 && self.preceding > 0 {
            self.combine(c);
            return;
        }
        self.preceding = width;
        let empty = Cell::empty(self.pen.attributes);
        let buffer = self.buffer_mut();
        let x = buffer.x;
        buffer.row().break_before(x, empty);
        if self.buffer().x + width > self.cols {
            if self.modes.autowrap {
                self.wrap();
            } else {
                self.buffer_mut().x = self.cols - 1;
                if width == 2 {
                    return self.does_not_fit();
                }
            }
        }
        let attributes = self.pen.attributes;
        let insert = self.modes.insert;
        let cols = self.cols;
        if insert {
            self.work += cols / CHARACTER_WORK;
        }
        let buffer = self.buffer_mut();
        let x = buffer.x;
        if x >= cols {
            // A combining character that stands alone at the margin has no cell to go to.
            return;
        }
        let row = buffer.row();
        if insert {
            let half = row.get(x).is_tail();
            row.insert(x, width, Cell::empty(attributes));
            if half && x + width < cols {
                row.set(x + width, Cell::empty(attributes));
            }
        }
        row.write(x, Cell::new(c, width, attributes), attributes);
        buffer.x = x + width.max(1);
    }

    /// A wide character in the last column without autowrap is lost, with what it stood on.
    fn does_not_fit(&mut self) {
        let fill = Cell::empty(self.pen.attributes);
        let last = self.cols - 1;
        self.preceding = 0;
        let row = self.buffer_mut().row();
        if row.get(last).is_tail() {
            row.span(last - 1..last + 1).fill(fill);
        }
    }

    fn combine(&mut self, c: char) {
        let buffer = if self.modes.alternate { &mut self.alternate } else { &mut self.normal };
        let x = buffer.x;
        let row = buffer.row();
        let Some(mut x) = x.checked_sub(1) else { return };
        if row.get(x).is_tail() && x > 0 {
            x -= 1;
        }
        let cell = row.get(x);
        if cell.has_content() {
            row.set(x, self.extras.combine(cell, c));
        }
    }

    /// Goes to the next line, which continues this one.
    fn wrap(&mut self) {
        let fill = self.erased();
        let leftover = Cell::empty(self.pen.attributes);
        let (cols, rows) = (self.cols, self.rows);
        let buffer = if self.modes.alternate { &mut self.alternate } else { &mut self.normal };
        let x = buffer.x;
        buffer.row().span(x..cols).fill(leftover);
        buffer.x = 0;
        if buffer.y == buffer.bottom {
            self.work += buffer.scroll(fill, &self.extras);
        } else {
            buffer.y = (buffer.y + 1).min(rows - 1);
        }
        buffer.row().wrapped = true;
    }

    /// REP: prints the character before the cursor again.
    ///
    /// At most [`REPEAT_LIMIT`] times and no more than the screen has cells; at most once for each
    /// column where each of them costs more than a cell.
    pub(super) fn repeat(&mut self, count: usize) {
        let Some((_, cell)) = self.last_printed() else { return };
        let Some(c) = cell.char() else { return };
        let costly = self.modes.insert || !self.modes.autowrap;
        let most = if costly { self.cols } else { REPEAT_LIMIT.min(self.cols * self.rows) };
        for _ in 0..count.min(most) {
            self.print_char(self.charsets.map(c));
            self.combine_like(cell);
        }
    }

    /// Gives the character that was just printed the combining characters of another one.
    fn combine_like(&mut self, cell: Cell) {
        let buffer = active(self.modes.alternate, &mut self.normal, &mut self.alternate);
        // Without autowrap a wide character at the margin was not printed.
        let Some(x) = buffer.x.checked_sub(self.preceding.max(1)) else { return };
        if self.preceding > 0 && !self.extras.combining(cell).is_empty() {
            let printed = buffer.row().get(x);
            buffer.row().set(x, printed.with_extra(cell.extra()));
        }
    }
}
