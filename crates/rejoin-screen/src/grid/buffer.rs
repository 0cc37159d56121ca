//! One of the two buffers of a terminal: rows, cursor, scroll region, tab stops, history.

use std::collections::VecDeque;

use super::cell::{Attributes, Cell};
use super::extras::Extras;
use super::history::{History, ScrollbackLimits};
use super::row::Row;
use crate::terminal::charsets::Charset;

const TAB_WIDTH: usize = 8;

/// What DECSC keeps and DECRC brings back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SavedCursor {
    pub(crate) x: usize,
    /// Scrolls with the lines, as in viewers, even to above the screen.
    pub(crate) y: isize,
    pub(crate) attributes: Attributes,
    pub(crate) charset: Charset,
}

/// Rows and what belongs to them.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    /// Exactly the screen's rows; none while the alternate buffer is not shown.
    pub(crate) rows: VecDeque<Row>,
    pub(crate) history: History,
    /// Column; equals the number of columns while the next character will wrap.
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) saved: SavedCursor,
    /// First and last row of the scroll region.
    pub(crate) top: usize,
    pub(crate) bottom: usize,
    pub(crate) tabs: Vec<bool>,
}

impl SavedCursor {
    /// The row that DECRC goes to, if the screen has it.
    pub(crate) fn row(self) -> usize {
        usize::try_from(self.y).unwrap_or(0)
    }

    /// Nothing was saved, or what is the same.
    pub(crate) fn is_initial(self) -> bool {
        Self { y: self.y.max(0), ..self } == Self::default()
    }
}

impl Buffer {
    pub(crate) fn new(cols: usize, rows: usize, limits: ScrollbackLimits) -> Self {
        Self {
            rows: blank_rows(cols, rows, Cell::BLANK),
            history: History::new(limits),
            x: 0,
            y: 0,
            saved: SavedCursor::default(),
            top: 0,
            bottom: rows - 1,
            tabs: default_tabs(cols),
        }
    }

    /// Drops the rows of a buffer that is not shown.
    pub(crate) fn hide(&mut self, cols: usize, rows: usize) {
        self.rows = VecDeque::new();
        (self.x, self.y) = (0, 0);
        (self.top, self.bottom) = (0, rows - 1);
        self.tabs = default_tabs(cols);
    }

    pub(crate) fn row(&mut self) -> &mut Row {
        &mut self.rows[self.y]
    }

    /// Scrolls the region up by one; what leaves at the top of the screen goes to the history.
    ///
    /// Returns how many cells that took.
    pub(crate) fn scroll(&mut self, fill: Cell, extras: &Extras) -> usize {
        let mut work = 1;
        if self.top == 0 {
            work += self.rows[0].stored().len();
            if !self.history.is_full() {
                self.saved.y -= 1;
            }
            self.history.push(&self.rows[0], extras);
        }
        self.shift_up(self.top, self.bottom, 1, fill);
        work
    }

    /// Moves rows up within `top..=bottom` and blanks those at the end; the history is left alone.
    pub(crate) fn shift_up(&mut self, top: usize, bottom: usize, count: usize, fill: Cell) {
        let height = bottom + 1 - top;
        let count = count.min(height);
        if height == self.rows.len() {
            // Moves no row when it is one line: the case of nearly all output.
            self.rows.rotate_left(count);
        } else {
            self.rows.make_contiguous()[top..=bottom].rotate_left(count);
        }
        self.rows.range_mut(bottom + 1 - count..=bottom).for_each(|row| row.clear(fill));
    }

    /// Moves rows down within `top..=bottom` and blanks those at the beginning.
    pub(crate) fn shift_down(&mut self, top: usize, bottom: usize, count: usize, fill: Cell) {
        let height = bottom + 1 - top;
        let count = count.min(height);
        if height == self.rows.len() {
            self.rows.rotate_right(count);
        } else {
            self.rows.make_contiguous()[top..=bottom].rotate_right(count);
        }
        self.rows.range_mut(top..top + count).for_each(|row| row.clear(fill));
    }

    pub(crate) fn next_tab(&self, cols: usize) -> usize {
        let stop = (self.x + 1..cols).find(|&x| self.tabs[x]);
        stop.unwrap_or(cols - 1)
    }

    pub(crate) fn previous_tab(&self) -> usize {
        (0..self.x).rev().find(|&x| self.tabs[x]).unwrap_or(0)
    }

    /// Tab stops of a new width: those there are, and from the last one on every eighth column.
    pub(crate) fn resize_tabs(&mut self, cols: usize) {
        let first = self.tabs.iter().take(cols).rposition(|&stop| stop).unwrap_or(0);
        self.tabs.resize(cols, false);
        (first..cols).step_by(TAB_WIDTH).for_each(|x| self.tabs[x] = true);
    }
}

/// A screenful of equal rows.
pub(crate) fn blank_rows(cols: usize, rows: usize, fill: Cell) -> VecDeque<Row> {
    std::iter::repeat_n(Row::new(cols, fill), rows).collect()
}

pub(crate) fn default_tabs(cols: usize) -> Vec<bool> {
    (0..cols).map(|x| x % TAB_WIDTH == 0).collect()
}
