//! Erasing, inserting, deleting and scrolling within the screen.

use super::Terminal;
use crate::grid::cell::{Attributes, Cell};

/// The number of cells that can be moved in about the time of printing one.
const CELLS_MOVED_AT_ONCE: usize = 8;

impl Terminal {
    /// Erases a part of the screen (ED, DECSED): 0 to the end, 1 to the cursor, 2 all, 3 the
    /// history.
    pub(super) fn erase_display(&mut self, mode: i32, selective: bool) {
        self.restrict_cursor(self.cols);
        let (x, y) = (self.buffer().x, self.buffer().y);
        let rows = self.rows;

        match mode {
            0 => {
                self.erase_in_row(y, x, self.cols, selective);
                if x == 0 {
                    self.buffer_mut().rows[y].wrapped = false;
                }

                (y + 1..rows).for_each(|row| self.erase_row(row, selective));
            }
            1 => {
                self.erase_in_row(y, 0, x + 1, selective);
                // If the whole row is erased, the next one no longer continues it.
                let whole = x + 1 >= self.cols;
                let buffer = self.buffer_mut();
                buffer.rows[y].wrapped = false;

                if let Some(next) = buffer.rows.get_mut(y + 1).filter(|_| whole) {
                    next.wrapped = false;
                }

                (0..y).for_each(|row| self.erase_row(row, selective));
            }
            2 => (0..rows).for_each(|row| self.erase_row(row, selective)),
            3 => {
                let buffer = self.buffer_mut();
                // Viewers count the saved row from the oldest line of their history, so it moves
                // when the history is dropped.
                buffer.saved.y += buffer.history.len().cast_signed();
                buffer.history.clear();
            }
            _ => {}
        }
    }

    /// Erases a part of the row (EL, DECSEL): 0 to the end, 1 to the cursor, 2 all.
    pub(super) fn erase_line(&mut self, mode: i32, selective: bool) {
        self.restrict_cursor(self.cols);
        let (x, y) = (self.buffer().x, self.buffer().y);
        let (start, end, unwrap) = match mode {
            0 => (x, self.cols, x == 0),
            1 => (0, x + 1, false),
            2 => (0, self.cols, true),
            _ => return,
        };

        self.erase_in_row(y, start, end, selective);
        if unwrap {
            self.buffer_mut().rows[y].wrapped = false;
        }
    }

    fn erase_in_row(&mut self, y: usize, start: usize, end: usize, selective: bool) {
        let fill = self.erased_cell();
        let row = &mut self.buffer_mut().rows[y];
        if selective {
            row.erase_unprotected(start..end, fill);
            self.leave_empty_margin();
        } else {
            row.erase(start..end, fill);
        }
    }

    /// Ends a pending wrap at an empty last cell, unless the whole row is empty.
    ///
    /// No snapshot could reproduce that state in the alternate buffer, because a pending wrap needs
    /// a printed character, and erasing that character moves the cursor.
    fn leave_empty_margin(&mut self) {
        let cols = self.cols;
        let alternate = self.modes.alternate;
        let buffer = self.buffer_mut();
        let row = &buffer.rows[buffer.y];
        let last = row.get(cols - 1);
        let empty = last.width() == 1 && !last.has_content();
        let (fill, rest) = row.fill();
        let differs = || row.stored().iter().any(|&cell| cell != last) || rest > 0 && fill != last;

        if alternate && buffer.x >= cols && empty && differs() {
            buffer.x = cols - 1;
        }
    }

    fn erase_row(&mut self, y: usize, selective: bool) {
        // Selective erasure examines each cell.
        self.work += if selective { self.cols } else { 1 };
        if selective {
            self.erase_in_row(y, 0, self.cols, true);
            self.buffer_mut().rows[y].wrapped = false;
        } else {
            let fill = self.erased_cell();
            self.buffer_mut().rows[y].fill_all(fill);
        }
    }

    /// Erases characters at the cursor (ECH).
    pub(super) fn erase_chars(&mut self, count: usize) {
        self.end_pending_wrap();
        self.work += self.cols / CELLS_MOVED_AT_ONCE;
        let (x, y) = (self.buffer().x, self.buffer().y);
        self.erase_in_row(y, x, x + count, false);
    }

    /// Inserts blank characters at the cursor (ICH).
    pub(super) fn insert_chars(&mut self, count: usize) {
        self.end_pending_wrap();
        self.work += self.cols / CELLS_MOVED_AT_ONCE;
        let fill = self.erased_cell();
        let buffer = self.buffer_mut();
        let x = buffer.x;
        buffer.row().insert(x, count, fill);
    }

    /// Deletes characters at the cursor (DCH).
    pub(super) fn delete_chars(&mut self, count: usize) {
        self.end_pending_wrap();
        self.work += self.cols / CELLS_MOVED_AT_ONCE;
        let fill = self.erased_cell();
        let buffer = self.buffer_mut();
        let x = buffer.x;
        buffer.row().delete(x, count, fill);
    }

    fn in_region(&self) -> bool {
        let buffer = self.buffer();
        (buffer.top..=buffer.bottom).contains(&buffer.y)
    }

    /// Inserts blank lines at the cursor (IL).
    pub(super) fn insert_lines(&mut self, count: usize) {
        self.end_pending_wrap();
        // Outside the region, IL and DL have no effect.
        if self.in_region() {
            self.work += self.rows / CELLS_MOVED_AT_ONCE;
            let fill = self.erased_cell();
            let buffer = self.buffer_mut();
            buffer.shift_down(buffer.y, buffer.bottom, count, fill);
            buffer.x = 0;
        }
    }

    /// Deletes lines at the cursor (DL).
    pub(super) fn delete_lines(&mut self, count: usize) {
        self.end_pending_wrap();
        if self.in_region() {
            self.work += self.rows / CELLS_MOVED_AT_ONCE;
            let fill = self.erased_cell();
            let buffer = self.buffer_mut();
            buffer.shift_up(buffer.y, buffer.bottom, count, fill);
            buffer.x = 0;
        }
    }

    /// Scrolls the region up (SU). The lines do not enter the history.
    pub(super) fn scroll_up(&mut self, count: usize) {
        self.work += self.rows / CELLS_MOVED_AT_ONCE;
        let fill = self.erased_cell();
        let buffer = self.buffer_mut();
        buffer.shift_up(buffer.top, buffer.bottom, count, fill);
        self.leave_empty_margin();
    }

    /// Scrolls the region down (SD). As in xterm.js, the new rows have no background.
    pub(super) fn scroll_down(&mut self, count: usize) {
        self.work += self.rows / CELLS_MOVED_AT_ONCE;
        let buffer = self.buffer_mut();
        buffer.shift_down(buffer.top, buffer.bottom, count, Cell::BLANK);
        self.leave_empty_margin();
    }

    /// Adds the work of changing all cells of the region.
    fn add_region_work(&mut self) {
        let buffer = self.buffer();
        self.work += (buffer.bottom + 1 - buffer.top) * self.cols / CELLS_MOVED_AT_ONCE;
    }

    /// Inserts columns at `x` in all rows of the region (SR, DECIC).
    pub(super) fn insert_columns(&mut self, x: usize, count: usize) {
        if self.in_region() {
            let fill = self.erased_cell();
            let buffer = self.buffer_mut();

            for row in buffer.rows.range_mut(buffer.top..=buffer.bottom) {
                row.insert(x, count, fill);
                row.wrapped = false;
            }

            self.add_region_work();
            self.leave_empty_margin();
        }
    }

    /// Deletes columns at `x` in all rows of the region (SL, DECDC).
    pub(super) fn delete_columns(&mut self, x: usize, count: usize) {
        if self.in_region() {
            let fill = self.erased_cell();
            let buffer = self.buffer_mut();

            for row in buffer.rows.range_mut(buffer.top..=buffer.bottom) {
                row.delete(x, count, fill);
                row.wrapped = false;
            }

            self.add_region_work();
            self.leave_empty_margin();
        }
    }

    /// Fills the screen with `E` (DECALN).
    pub(super) fn fill_with_e(&mut self) {
        self.work += self.rows;
        let pen = self.pen.attributes;
        // The cell gets no extra, so it keeps neither the style nor the colour of an underline.
        let mut flags = pen.flags();
        flags.set_underline(flags.underline().min(1));
        let cell = Cell::new('E', 1, Attributes::new(pen.fg(), pen.bg(), flags, 0));
        self.move_to(0, 0);
        let alternate = self.modes.alternate;
        let buffer = self.buffer_mut();
        // In origin mode, xterm.js starts at the region. On the alternate screen, it then continues
        // with the rows above.
        let first = if alternate { 0 } else { buffer.y };
        buffer.rows.range_mut(first..).for_each(|row| row.fill_all(cell));
        self.move_to(0, 0);
    }
}
