//! A screen buffer, normal or alternate: rows, cursor, scroll region, tab stops, history.

use std::collections::VecDeque;

use super::cell::{Attributes, Cell};
use super::extras::Extras;
use super::history::{History, ScrollbackLimits};
use super::row::Row;
use crate::charsets::Charset;

const TAB_WIDTH: usize = 8;

/// The state that DECSC saves and DECRC restores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SavedCursor {
    /// The column. Beyond the margin if a wrap was pending, or if the screen became narrower.
    pub(crate) x: usize,
    /// The row. As in xterm.js, it scrolls with the lines, and may be outside of the screen.
    pub(crate) y: isize,
    pub(crate) attributes: Attributes,
    pub(crate) charset: Charset,
}

/// A buffer of a terminal.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    /// The rows of the screen. Empty while the alternate buffer is hidden.
    pub(crate) rows: VecDeque<Row>,
    pub(crate) history: History,
    /// The cursor's column. Equal to the number of columns while a wrap is pending.
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) saved: SavedCursor,
    /// The first row of the scroll region.
    pub(crate) top: usize,
    /// The last row of the scroll region.
    pub(crate) bottom: usize,
    /// `true` for each column with a tab stop. A narrower screen keeps those beyond its margin.
    pub(crate) tabs: Vec<bool>,
}

impl SavedCursor {
    /// Returns the row to which DECRC moves, or 0 if the saved row is above the screen.
    pub(crate) fn row(self) -> usize {
        usize::try_from(self.y).unwrap_or(0)
    }

    /// Returns `true` if nothing was saved, or if the saved state equals the initial one.
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

    /// Drops the rows and settings of a buffer that becomes hidden. Keeps the saved cursor.
    pub(crate) fn hide(&mut self, cols: usize, rows: usize) {
        self.rows = VecDeque::new();
        (self.x, self.y) = (0, 0);
        (self.top, self.bottom) = (0, rows - 1);
        self.tabs = default_tabs(cols);
    }

    pub(crate) fn row(&mut self) -> &mut Row {
        &mut self.rows[self.y]
    }

    /// Scrolls the region up by one row. A row that leaves the screen enters the history.
    ///
    /// Returns the amount of work, in cells.
    pub(crate) fn scroll(&mut self, fill: Cell, extras: &Extras) -> usize {
        let mut work = 1;
        if self.top == 0 {
            work += self.rows[0].stored().len();
            // The saved row counts from the history's start, which moves once the history is full.
            if !self.history.is_full() {
                self.saved.y -= 1;
            }

            self.history.push(&self.rows[0], extras);
        }

        self.shift_up(self.top, self.bottom, 1, fill);
        work
    }

    /// Moves rows up within `top..=bottom` and clears the last ones. Does not change the history.
    pub(crate) fn shift_up(&mut self, top: usize, bottom: usize, count: usize, fill: Cell) {
        let height = bottom + 1 - top;
        let count = count.min(height);
        if height == self.rows.len() {
            // Rotating the deque moves no other rows. Nearly all output scrolls this way.
            self.rows.rotate_left(count);
        } else {
            self.rows.make_contiguous()[top..=bottom].rotate_left(count);
        }

        self.rows.range_mut(bottom + 1 - count..=bottom).for_each(|row| row.clear(fill));
    }

    /// Moves rows down within `top..=bottom` and clears the first ones.
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

    /// Changes the width. Keeps the tab stops, and adds one every eight columns after the last.
    pub(crate) fn resize_tabs(&mut self, cols: usize) {
        if self.tabs.get(cols).is_some_and(|&stop| stop) {
            return;
        }

        let first = self.tabs.iter().take(cols).rposition(|&stop| stop).unwrap_or(0);
        self.tabs.resize(self.tabs.len().max(cols), false);
        (first..cols).step_by(TAB_WIDTH).for_each(|x| self.tabs[x] = true);
    }
}

/// Returns a screen of equal rows.
pub(crate) fn blank_rows(cols: usize, rows: usize, fill: Cell) -> VecDeque<Row> {
    std::iter::repeat_n(Row::new(cols, fill), rows).collect()
}

pub(crate) fn default_tabs(cols: usize) -> Vec<bool> {
    (0..cols).map(|x| x % TAB_WIDTH == 0).collect()
}
