//! Changes of size: rows move to or from the history, and lines are rewrapped.

use super::{STEP_WORK, Terminal};
use crate::grid::buffer::Buffer;
use crate::grid::cell::Cell;
use crate::grid::extras::Extras;
use crate::grid::reflow::{self, Reflow};
use crate::grid::row::Row;

impl Terminal {
    /// Starts a change of size. Calls of [`Self::continue_reflow`] finish it.
    pub(crate) fn begin_resize(&mut self, cols: usize, rows: usize) {
        // Completes an unfinished reflow first, because its rows have the old length.
        while !self.continue_reflow() {}
        if (cols, rows) == (self.cols, self.rows) {
            return;
        }

        // The order of these steps is that of xterm.js. Any other order leads to different rows.
        let mut extras = std::mem::take(&mut self.extras);
        if cols > self.cols {
            reflow::set_columns(&mut self.normal, cols);
        }

        resize_rows(&mut self.normal, rows, &mut extras);
        clamp(&mut self.normal, cols, rows);
        if cols != self.cols {
            // Rewrapping renumbers the lines, which voids all earlier numbers.
            self.rewraps = self.rewraps.wrapping_add(1);
            self.reflow = Reflow::begin(&mut self.normal, self.cols, cols, &extras);
        }

        // The alternate buffer is not rewrapped: its program redraws it.
        if self.modes.alternate {
            reflow::set_margin(&mut self.alternate, cols);
            resize_rows(&mut self.alternate, rows, &mut extras);
        }

        clamp(&mut self.alternate, cols, rows);
        self.extras = extras;

        for buffer in [&mut self.normal, &mut self.alternate] {
            buffer.resize_tabs(cols);
        }

        (self.cols, self.rows) = (cols, rows);
        if self.reflow.is_none() {
            self.resized();
        }
    }

    /// Does one step of a pending change of size. Returns `true` if none is left.
    pub(crate) fn continue_reflow(&mut self) -> bool {
        let Some(mut reflow) = self.reflow.take() else { return true };
        if reflow.step(STEP_WORK, &self.extras) {
            reflow.finish(&mut self.normal, &mut self.extras);
            self.resized();
            return true;
        }

        self.reflow = Some(reflow);
        false
    }

    /// Forgets the last printed character if it has moved.
    fn resized(&mut self) {
        if self.last_printed().is_none() {
            self.preceding = 0;
        }
    }
}

/// Changes the number of rows.
///
/// As in xterm.js, a shorter screen first loses blank rows below the cursor, and then moves its top
/// rows to the history. A taller screen takes rows back from the history.
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
        // As in xterm.js, rows only return from the history if the cursor is in the last row.
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

/// Moves the cursor into the new bounds, and resets the scroll region.
///
/// As in xterm.js, only clamps the column of the saved cursor, and not while the buffer is hidden.
/// DECRC clamps both coordinates.
fn clamp(buffer: &mut Buffer, cols: usize, rows: usize) {
    buffer.x = buffer.x.min(cols - 1);
    buffer.y = buffer.y.min(rows - 1);
    if !buffer.rows.is_empty() {
        buffer.saved.x = buffer.saved.x.min(cols - 1);
    }

    (buffer.top, buffer.bottom) = (0, rows - 1);
}
