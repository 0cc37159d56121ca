//! The cursor: moves, saving, tab stops, line feeds.

use super::Terminal;
use super::pen::Pen;
use crate::grid::buffer::{Buffer, SavedCursor};

impl Terminal {
    /// Moves the cursor into the screen, and into the region in origin mode.
    pub(super) fn restrict_cursor(&mut self, max_x: usize) {
        let origin = self.modes.origin;
        let rows = self.rows;
        let buffer = self.buffer_mut();
        buffer.x = buffer.x.min(max_x);
        buffer.y = if origin {
            buffer.y.max(buffer.top).min(buffer.bottom)
        } else {
            buffer.y.min(rows - 1)
        };
    }

    /// Ends a pending wrap by moving the cursor back into the last column.
    pub(super) fn end_pending_wrap(&mut self) {
        self.restrict_cursor(self.cols - 1);
    }

    /// Moves to a column and a row. In origin mode, the row counts from the region's top.
    pub(super) fn move_to(&mut self, x: usize, y: usize) {
        let origin = self.modes.origin;
        let buffer = self.buffer_mut();
        buffer.x = x;
        buffer.y = if origin { buffer.top + y } else { y };
        self.end_pending_wrap();
    }

    /// Moves by columns and rows.
    ///
    /// In origin mode, takes the absolute row as relative to the region's top. That looks wrong,
    /// but it is what xterm.js does.
    fn move_by(&mut self, dx: isize, dy: isize) {
        self.end_pending_wrap();
        let buffer = self.buffer();
        let (x, y) = (buffer.x.saturating_add_signed(dx), buffer.y.saturating_add_signed(dy));
        self.move_to(x, y);
    }

    pub(super) fn cursor_up(&mut self, count: usize) {
        let buffer = self.buffer();
        // The region only stops the cursor if the cursor starts inside it.
        let room = buffer.y.checked_sub(buffer.top).unwrap_or(usize::MAX);
        self.move_by(0, -count.min(room).cast_signed());
    }

    pub(super) fn cursor_down(&mut self, count: usize) {
        let buffer = self.buffer();
        let room = buffer.bottom.checked_sub(buffer.y).unwrap_or(usize::MAX);
        self.move_by(0, count.min(room).cast_signed());
    }

    pub(super) fn cursor_left(&mut self, count: usize) {
        self.move_by(-count.cast_signed(), 0);
    }

    pub(super) fn cursor_right(&mut self, count: usize) {
        self.move_by(count.cast_signed(), 0);
    }

    pub(super) fn row_down(&mut self, count: usize) {
        self.move_by(0, count.cast_signed());
    }

    pub(super) fn cursor_column(&mut self, column: usize) {
        let y = self.buffer().y;
        self.move_to(column - 1, y);
    }

    pub(super) fn cursor_row(&mut self, row: usize) {
        let x = self.buffer().x;
        self.move_to(x, row - 1);
    }

    /// Executes LF, VT or FF.
    pub(super) fn line_feed(&mut self) {
        let return_too = self.modes.line_feed;
        let fill = self.erased_cell();
        let (cols, rows) = (self.cols, self.rows);
        let buffer = active(self.modes.alternate, &mut self.normal, &mut self.alternate);

        if return_too {
            buffer.x = 0;
        }

        if buffer.y == buffer.bottom {
            self.work += buffer.scroll(fill, &self.extras);
        } else if buffer.y + 1 < rows {
            buffer.y += 1;
            // The program ended the line, so the next row does not continue it.
            buffer.row().wrapped = false;
        }

        // A line feed ends a pending wrap.
        buffer.x = buffer.x.min(cols - 1);
    }

    /// Moves down one row, and scrolls at the region's bottom (IND).
    pub(super) fn index(&mut self) {
        self.end_pending_wrap();
        let fill = self.erased_cell();
        let rows = self.rows;
        let buffer = active(self.modes.alternate, &mut self.normal, &mut self.alternate);

        if buffer.y == buffer.bottom {
            self.work += buffer.scroll(fill, &self.extras);
        } else {
            buffer.y = (buffer.y + 1).min(rows - 1);
        }

        self.end_pending_wrap();
    }

    /// Moves to the start of the next row (NEL).
    pub(super) fn next_line(&mut self) {
        self.buffer_mut().x = 0;
        self.index();
    }

    /// Moves up one row, and scrolls at the region's top (RI).
    pub(super) fn reverse_index(&mut self) {
        self.end_pending_wrap();
        let fill = self.erased_cell();
        let buffer = self.buffer_mut();

        if buffer.y == buffer.top {
            buffer.shift_down(buffer.top, buffer.bottom, 1, fill);
        } else {
            buffer.y = buffer.y.saturating_sub(1);
            self.end_pending_wrap();
        }
    }

    /// Moves left one column. In reverse-wrap mode, also moves back over soft wraps.
    pub(super) fn backspace(&mut self) {
        if !self.modes.reverse_wrap {
            self.end_pending_wrap();
            let buffer = self.buffer_mut();
            buffer.x = buffer.x.saturating_sub(1);
            return;
        }

        self.restrict_cursor(self.cols);
        let cols = self.cols;
        let buffer = self.buffer_mut();
        let in_region = buffer.y > buffer.top && buffer.y <= buffer.bottom;

        if buffer.x > 0 {
            buffer.x -= 1;
        } else if in_region && buffer.row().wrapped {
            buffer.row().wrapped = false;
            buffer.y -= 1;
            buffer.x = cols - 1;
            // Skips the empty cell before a wide character that did not fit into the row.
            let last = buffer.row().get(cols - 1);

            if last.width() > 0 && !last.has_content() {
                buffer.x -= 1;
            }
        }

        self.end_pending_wrap();
    }

    /// Moves to the next tab stop.
    pub(super) fn tab(&mut self) {
        let cols = self.cols;
        let buffer = self.buffer_mut();
        if buffer.x < cols {
            buffer.x = buffer.next_tab(cols);
        }
    }

    pub(super) fn tabs(&mut self, count: usize) {
        (0..count.min(self.cols)).for_each(|_| self.tab());
    }

    pub(super) fn tabs_back(&mut self, count: usize) {
        let cols = self.cols;
        let buffer = self.buffer_mut();
        if buffer.x < cols {
            (0..count.min(cols)).for_each(|_| buffer.x = buffer.previous_tab());
        }
    }

    /// Sets a tab stop at the cursor (HTS).
    pub(super) fn set_tab(&mut self) {
        let buffer = self.buffer_mut();
        // While a wrap is pending, the stop is beyond the margin, where a wider screen reveals it.
        buffer.tabs.resize(buffer.tabs.len().max(buffer.x + 1), false);
        buffer.tabs[buffer.x] = true;
    }

    /// Clears the tab stop at the cursor (mode 0), or all of them (mode 3) (TBC).
    pub(super) fn clear_tabs(&mut self, mode: i32) {
        let buffer = self.buffer_mut();
        match mode {
            0 => {
                if let Some(stop) = buffer.tabs.get_mut(buffer.x) {
                    *stop = false;
                }
            }
            3 => buffer.tabs.fill(false),
            _ => {}
        }
    }

    /// Saves the cursor (DECSC).
    pub(super) fn save_cursor(&mut self) {
        // Leaves out the extra, which a sweep could free while the cursor is saved.
        let attributes = self.pen.attributes.plain();
        let charset = self.charsets.active;
        let buffer = self.buffer_mut();
        buffer.saved = SavedCursor { x: buffer.x, y: buffer.y.cast_signed(), attributes, charset };
    }

    /// Restores the cursor (DECRC). As in xterm.js, keeps the link and the underline colour.
    pub(super) fn restore_cursor(&mut self) {
        let buffer = self.buffer_mut();
        let saved = buffer.saved;
        (buffer.x, buffer.y) = (saved.x, saved.row());
        self.pen.restore(saved.attributes, &mut self.extras);
        self.charsets.active = saved.charset;
        self.end_pending_wrap();
    }

    /// Sets the scroll region (DECSTBM).
    pub(super) fn set_region(&mut self, top: usize, bottom: i32) {
        let rows = self.rows;
        let bottom = usize::try_from(bottom).ok().filter(|row| (1..=rows).contains(row));
        let bottom = bottom.unwrap_or(rows);

        // A region has at least two rows. Anything else is ignored.
        if bottom > top {
            let buffer = self.buffer_mut();
            (buffer.top, buffer.bottom) = (top - 1, bottom - 1);
            self.move_to(0, 0);
        }
    }

    /// Executes a soft reset (DECSTR).
    pub(super) fn soft_reset(&mut self) {
        self.modes.soft_reset();
        self.pen = Pen::default();
        self.charsets = Default::default();
        let rows = self.rows;
        let buffer = self.buffer_mut();
        (buffer.top, buffer.bottom) = (0, rows - 1);
        buffer.saved = SavedCursor::default();
    }
}

/// Returns the shown buffer.
///
/// Unlike `Terminal::buffer_mut`, leaves the terminal's other fields free to borrow.
pub(super) fn active<'a>(
    alternate: bool,
    normal: &'a mut Buffer,
    other: &'a mut Buffer,
) -> &'a mut Buffer {
    if alternate { other } else { normal }
}
