//! Rewraps lines one after the other.

use crate::grid::cell::Cell;
use crate::grid::row::Row;

/// A rewrapper that receives the rows of a line one by one.
#[derive(Clone, Debug)]
pub(super) struct LineWrapper {
    old: usize,
    new: usize,
    /// The last received row, whose end depends on the next one.
    previous: Option<Row>,
    /// The cells that are not in a new row yet.
    pending: Vec<Cell>,
}

impl LineWrapper {
    /// Creates a wrapper from rows of `old` columns to rows of `new`.
    pub(super) fn new(old: usize, new: usize) -> Self {
        Self { old, new, previous: None, pending: Vec::new() }
    }

    /// Receives the next row of a line. Calls `emit` with the cells of each complete new row.
    pub(super) fn push(&mut self, row: Row, is_last: bool, mut emit: impl FnMut(&[Cell])) {
        if let Some(previous) = self.previous.take() {
            // Drops the empty cell before a wide character that did not fit into the row.
            let last = previous.get(self.old - 1);
            let gap = !last.has_content() && last.width() == 1;
            let early = gap && row.get(0).is_wide();
            self.extend(&previous, self.old - usize::from(early));
            self.flush(&mut emit);
        }

        if !is_last {
            self.previous = Some(row);
            return;
        }

        self.extend(&row, row.content_len());
        self.flush(&mut emit);
        if !self.pending.is_empty() {
            emit(&self.pending);
            self.pending.clear();
        }
    }

    /// Returns the extras of the buffered cells.
    pub(super) fn extras(&self) -> impl Iterator<Item = u32> {
        let previous = self.previous.iter().flat_map(|row| row.stored());
        previous.chain(&self.pending).map(|cell| cell.extra())
    }

    /// Appends the first `count` cells of a row.
    fn extend(&mut self, row: &Row, count: usize) {
        let count = count.min(row.len());
        let stored = &row.stored()[..count.min(row.stored().len())];
        self.pending.extend_from_slice(stored);
        self.pending.extend(std::iter::repeat_n(row.fill().0, count - stored.len()));
    }

    /// Emits all full rows. A wide character never spans two rows.
    fn flush(&mut self, emit: &mut impl FnMut(&[Cell])) {
        let mut start = 0;
        while let Some(cells) = self.pending.get(start..start + self.new) {
            let wide = cells[self.new - 1].is_wide();
            let end = start + self.new - usize::from(wide);
            emit(&self.pending[start..end]);
            start = end;
        }

        self.pending.drain(..start);
    }
}
