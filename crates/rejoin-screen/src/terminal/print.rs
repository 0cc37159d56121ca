//! Printing: wide and combining characters, pending wraps, insert mode.

use super::Terminal;
use super::cursor::active;
use crate::charsets::Charset;
use crate::grid::cell::Cell;
use crate::width;

/// The maximum number of characters that REP prints: a few rows. Programs stay within one row.
const REPEAT_LIMIT: usize = 4096;
/// The cost of printing one character alone, in characters printed as a run of text.
const CHARACTER_WORK: usize = 8;

impl Terminal {
    /// Prints ASCII text, one row at a time.
    pub(super) fn print_text(&mut self, mut text: &[u8]) {
        // With these modes and sets, each character needs its own decision.
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

            // The part of the text that fits into the row.
            let cols = self.cols;
            let buffer = self.buffer_mut();
            let x = buffer.x;
            let (part, rest) = text.split_at(text.len().min(cols - x));
            let row = &mut buffer.rows[buffer.y];
            let end = x + part.len();
            // The text may overwrite one half of a wide character at either end.
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

    /// Prints one character.
    pub(super) fn print_char(&mut self, c: char) {
        self.work += CHARACTER_WORK;
        let width = width::of(c);
        if width == 0 && self.preceding > 0 {
            self.combine(c);
            return;
        }

        // As in xterm.js, a wide character whose right half is at the cursor loses its left half,
        // even if the new character then wraps.
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
                    return self.drop_wide_char();
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
            // A combining character without a base has no cell at the margin.
            return;
        }

        let row = buffer.row();
        if insert {
            // An insertion between the halves of a wide character destroys both.
            let half = row.get(x).is_tail();
            row.insert(x, width, Cell::empty(attributes));
            if half && x + width < cols {
                row.set(x + width, Cell::empty(attributes));
            }
        }

        row.write(x, Cell::new(c, width, attributes), attributes);
        buffer.x = x + width.max(1);
    }

    /// Drops a wide character that does not fit without autowrap, and the character below it.
    fn drop_wide_char(&mut self) {
        let fill = Cell::empty(self.pen.attributes);
        let last = self.cols - 1;
        self.preceding = 0;
        let row = self.buffer_mut().row();

        if row.get(last).is_tail() {
            row.span(last - 1..last + 1).fill(fill);
        }
    }

    /// Combines a character with the one before the cursor.
    fn combine(&mut self, c: char) {
        let buffer = active(self.modes.alternate, &mut self.normal, &mut self.alternate);
        let x = buffer.x;
        let row = buffer.row();
        // The base of a wide character is its left half.
        let Some(mut x) = x.checked_sub(1) else { return };

        if row.get(x).is_tail() && x > 0 {
            x -= 1;
        }

        let cell = row.get(x);
        if cell.has_content() {
            row.set(x, self.extras.combine(cell, c));
        }
    }

    /// Moves to the next row, which continues this one (a soft wrap).
    fn wrap(&mut self) {
        let fill = self.erased_cell();
        let leftover = Cell::empty(self.pen.attributes);
        let (cols, rows) = (self.cols, self.rows);
        let buffer = active(self.modes.alternate, &mut self.normal, &mut self.alternate);
        // A wide character that does not fit leaves the last cell; any other wrap leaves none.
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

    /// Repeats the last printed character (REP).
    ///
    /// Limits the count to [`REPEAT_LIMIT`] and to the cells of the screen. In insert mode and
    /// without autowrap, where each character costs more, limits it to one row.
    pub(super) fn repeat(&mut self, count: usize) {
        let Some((_, cell)) = self.last_printed() else { return };
        let Some(c) = cell.char() else { return };
        let costly = self.modes.insert || !self.modes.autowrap;
        let most = if costly { self.cols } else { REPEAT_LIMIT.min(self.cols * self.rows) };

        let mut count = count.min(most);
        if let Some(ascii) = cell.ascii() {
            let text = [ascii; 256];
            while count > 0 {
                let part = count.min(text.len());
                self.print_text(&text[..part]);
                count -= part;
            }
        }

        for _ in 0..count {
            self.print_char(self.charsets.map(c));
            self.combine_like(cell);
        }
    }

    /// Adds the combining characters of `cell` to the character just printed.
    fn combine_like(&mut self, cell: Cell) {
        let buffer = active(self.modes.alternate, &mut self.normal, &mut self.alternate);
        // Without autowrap, a wide character at the margin was not printed.
        let Some(x) = buffer.x.checked_sub(self.preceding.max(1)) else { return };
        if self.preceding > 0 && !self.extras.combining(cell).is_empty() {
            let printed = buffer.row().get(x);
            buffer.row().set(x, printed.with_extra(cell.extra()));
        }
    }
}
