//! A new size: rows come from the history or go to it, and lines are wrapped anew.

use super::{STEP_WORK, Terminal};
use crate::grid::buffer::Buffer;
use crate::grid::cell::Cell;
use crate::grid::extras::Extras;
use crate::grid::reflow::{self, Reflow};
use crate::grid::row::Row;

impl Terminal {
    /// Changes the size; [`Self::go_on`] does the rest.
    pub(crate) fn begin_resize(&mut self, cols: usize, rows: usize) {
        while !self.go_on() {}
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
            self.reflow = Reflow::begin(&mut self.normal, self.cols, cols, &extras);
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
        if self.reflow.is_none() {
            self.resized();
        }
    }

    /// Does a part of a change of size that is under way; returns whether it is done.
    pub(crate) fn go_on(&mut self) -> bool {
        let Some(mut reflow) = self.reflow.take() else { return true };
        if reflow.step(STEP_WORK, &self.extras) {
            reflow.finish(&mut self.normal, &mut self.extras);
            self.resized();
            return true;
        }
        self.reflow = Some(reflow);
        false
    }

    fn resized(&mut self) {
        if self.last_printed().is_none() {
            self.preceding = 0;
        }
    }
}

/// Blank rows below the cursor go first; then the topmost go to the history, or come back from it.
fn resize_rows(buffer: &mut Buffer, rows: usize, extras: &mut Extras) {
    let cols = buffer.rows.front().map_or(0, Row::len);
    while buffer.rows.len() > rows {
        if buffer.rows.len() > buffer.y + 1 {
            buffer.rows.pop_back();
        } else if let Some(row) = buffer.rows.pop_front() {
            buffer.history.push(&row, extras);
            buffer.y -= 1;
            buffer.saved.y -= 1;
        }
    }
    while buffer.rows.len() < rows {
        let at_end = buffer.y + 1 >= buffer.rows.len();
        match at_end.then(|| buffer.history.pop(cols, extras)).flatten() {
            Some(row) => {
                buffer.rows.push_front(row);
                buffer.y += 1;
                buffer.saved.y += 1;
            }
            None => buffer.rows.push_back(Row::new(cols, Cell::BLANK)),
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
