//! Moving the cursor, saving it, tab stops, line feeds.

use super::Terminal;
use super::pen::Pen;
use crate::grid::buffer::{Buffer, SavedCursor};

impl Terminal {
    /// Puts the cursor inside the screen, and inside the region in origin mode.
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

    /// Ends the wait at the margin.
    pub(super) fn settle(&mut self) {
        self.restrict_cursor(self.cols - 1);
    }

    /// To a column and a row, which counts from the region's top in origin mode.
    pub(super) fn move_to(&mut self, x: usize, y: usize) {
        let origin = self.modes.origin;
        let buffer = self.buffer_mut();
        buffer.x = x;
        buffer.y = if origin { buffer.top + y } else { y };
        self.settle();
    }

    /// By columns and rows.
    ///
    /// In origin mode the row is counted from the region's top although it was
    /// not before: this is what viewers do.
    fn move_by(&mut self, dx: isize, dy: isize) {
        self.settle();
        let buffer = self.buffer();
        let (x, y) = (buffer.x.saturating_add_signed(dx), buffer.y.saturating_add_signed(dy));
        self.move_to(x, y);
    }

    pub(super) fn cursor_up(&mut self, count: usize) {
        let buffer = self.buffer();
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

    pub(super) fn line_feed(&mut self) {
        let return_too = self.modes.line_feed;
        let fill = self.erased();
        let (cols, rows) = (self.cols, self.rows);
        let buffer = active(self.modes.alternate, &mut self.normal, &mut self.alternate);
        if return_too {
            buffer.x = 0;
        }
        if buffer.y == buffer.bottom {
            self.work += buffer.scroll(fill, &self.extras);
        } else if buffer.y + 1 < rows {
            buffer.y += 1;
            buffer.row().wrapped = false;
        }
        // A line feed ends the wait at the margin.
        buffer.x = buffer.x.min(cols - 1);
    }

    /// IND
    pub(super) fn index(&mut self) {
        self.settle();
        let fill = self.erased();
        let rows = self.rows;
        let buffer = active(self.modes.alternate, &mut self.normal, &mut self.alternate);
        if buffer.y == buffer.bottom {
            self.work += buffer.scroll(fill, &self.extras);
        } else {
            buffer.y = (buffer.y + 1).min(rows - 1);
        }
        self.settle();
    }

    /// NEL
    pub(super) fn next_line(&mut self) {
        self.buffer_mut().x = 0;
        self.index();
    }

    /// RI
    pub(super) fn reverse_index(&mut self) {
        self.settle();
        let fill = self.erased();
        let buffer = self.buffer_mut();
        if buffer.y == buffer.top {
            buffer.shift_down(buffer.top, buffer.bottom, 1, fill);
        } else {
            buffer.y = buffer.y.saturating_sub(1);
            self.settle();
        }
    }

    /// In reverse-wrap mode back over soft wraps, too.
    pub(super) fn backspace(&mut self) {
        if !self.modes.reverse_wrap {
            self.settle();
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
            // Over the cell that an early wrapped wide character left empty.
            let last = buffer.row().get(cols - 1);
            if last.width() > 0 && !last.has_content() {
                buffer.x -= 1;
            }
        }
        self.settle();
    }

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

    pub(super) fn set_tab(&mut self) {
        let buffer = self.buffer_mut();
        if let Some(stop) = buffer.tabs.get_mut(buffer.x) {
            *stop = true;
        }
    }

    pub(super) fn clear_tabs(&mut self, which: i32) {
        let buffer = self.buffer_mut();
        match which {
            0 => {
                if let Some(stop) = buffer.tabs.get_mut(buffer.x) {
                    *stop = false;
                }
            }
            3 => buffer.tabs.fill(false),
            _ => {}
        }
    }

    /// DECSC
    pub(super) fn save_cursor(&mut self) {
        let cols = self.cols;
        let attributes = self.pen.attributes.plain();
        let charset = self.charsets.active;
        let buffer = self.buffer_mut();
        let x = buffer.x.min(cols - 1);
        buffer.saved = SavedCursor { x, y: buffer.y.cast_signed(), attributes, charset };
    }

    /// DECRC; the link and the colour of the underline stay, as in viewers.
    pub(super) fn restore_cursor(&mut self) {
        let buffer = self.buffer_mut();
        let saved = buffer.saved;
        (buffer.x, buffer.y) = (saved.x, saved.row());
        self.pen.restore(saved.attributes, &mut self.extras);
        self.charsets.active = saved.charset;
        self.settle();
    }

    /// DECSTBM
    pub(super) fn set_region(&mut self, top: usize, bottom: i32) {
        let rows = self.rows;
        let bottom = usize::try_from(bottom).ok().filter(|row| (1..=rows).contains(row));
        let bottom = bottom.unwrap_or(rows);
        if bottom > top {
            let buffer = self.buffer_mut();
            (buffer.top, buffer.bottom) = (top - 1, bottom - 1);
            self.move_to(0, 0);
        }
    }

    /// DECSTR
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

/// The buffer that is shown, when other fields of the terminal are borrowed too.
pub(super) fn active<'a>(
    alternate: bool,
    normal: &'a mut Buffer,
    other: &'a mut Buffer,
) -> &'a mut Buffer {
    if alternate { other } else { normal }
}
