//! A new size: rows come from the history or go to it, and lines are wrapped anew.

use super::Terminal;
use crate::grid::buffer::Buffer;
use crate::grid::cell::Cell;
use crate::grid::extras::Extras;
use crate::grid::reflow;
use crate::grid::row::Row;

impl Terminal {
    pub(crate) fn resize(&mut self, cols: usize, rows: usize) {
        if (cols, rows) == (self.cols, self.rows) {
            return;
        }
        let mut extras = std::mem::take(&mut self.extras);
        if cols > self.cols {
            reflow::set_columns(&mut self.normal, cols);
        }
        resize_rows(&mut self.normal, rows, &mut extras);
        finish(&mut self.normal, cols, rows);
        if cols != self.cols {
            reflow::rewrap(&mut self.normal, self.cols, cols, &mut extras);
        }
        if self.modes.alternate {
            reflow::set_columns(&mut self.alternate, cols);
            resize_rows(&mut self.alternate, rows, &mut extras);
        }
        finish(&mut self.alternate, cols, rows);
        self.extras = extras;
        for buffer in [&mut self.normal, &mut self.alternate] {
            buffer.resize_tabs(cols);
        }
        (self.cols, self.rows) = (cols, rows);
        if self.last_printed().is_none() {
            self.preceding = 0;
        }
    }
}

/// Blank rows below the cursor go first; then the topmost go to the history, or come back from it.
fn resize_rows(buffer: &mut Buffer, rows: usize, extras: &mut Extras) {
    let cols = buffer.rows.first().map_or(0, Row::len);
    while buffer.rows.len() > rows {
        if buffer.rows.len() > buffer.y + 1 {
            buffer.rows.pop();
        } else {
            let row = buffer.rows.remove(0);
            buffer.history.push(&row, extras);
            buffer.y -= 1;
            buffer.saved.y -= 1;
        }
    }
    while buffer.rows.len() < rows {
        let at_end = buffer.y + 1 >= buffer.rows.len();
        match at_end.then(|| buffer.history.pop(cols, extras)).flatten() {
            Some(row) => {
                buffer.rows.insert(0, row);
                buffer.y += 1;
                buffer.saved.y += 1;
            }
            None => buffer.rows.push(Row::new(cols, Cell::BLANK)),
        }
    }
}

fn finish(buffer: &mut Buffer, cols: usize, rows: usize) {
    buffer.x = buffer.x.min(cols - 1);
    buffer.y = buffer.y.min(rows - 1);
    buffer.saved.x = buffer.saved.x.min(cols - 1);
    buffer.saved.y = buffer.saved.y.min(rows.cast_signed() - 1);
    (buffer.top, buffer.bottom) = (0, rows - 1);
}
