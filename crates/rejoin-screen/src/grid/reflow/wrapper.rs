//! Wraps one line after another into rows of another length.

use crate::grid::cell::Cell;
use crate::grid::row::Row;

/// A line as far as its rows have come.
#[derive(Clone, Debug)]
pub(super) struct Wrapper {
    old: usize,
    new: usize,
    /// The last row that came, whose end depends on the next one.
    held: Option<Row>,
    /// Cells of the line that are in no row yet.
    pending: Vec<Cell>,
}

impl Wrapper {
    /// Wraps rows of `old` columns into rows of `new`.
    pub(super) fn new(old: usize, new: usize) -> Self {
        Self { old, new, held: None, pending: Vec::new() }
    }

    /// Takes the next row of a line; calls `emit` with the cells of each row that is complete.
    pub(super) fn push(&mut self, row: Row, is_last: bool, mut emit: impl FnMut(&[Cell])) {
        if let Some(held) = self.held.take() {
            // The gap that a wide character left at the margin.
            let last = held.get(self.old - 1);
            let gap = !last.has_content() && last.width() == 1;
            let early = gap && row.get(0).is_wide();
            self.extend(&held, self.old - usize::from(early));
            self.flush(&mut emit);
        }
        if !is_last {
            self.held = Some(row);
            return;
        }
        self.extend(&row, row.content_len());
        self.flush(&mut emit);
        if !self.pending.is_empty() {
            emit(&self.pending);
            self.pending.clear();
        }
    }

    /// The extras of the cells that it holds.
    pub(super) fn extras(&self) -> impl Iterator<Item = u32> {
        let held = self.held.iter().flat_map(|row| row.stored());
        held.chain(&self.pending).map(|cell| cell.extra())
    }

    fn extend(&mut self, row: &Row, count: usize) {
        let count = count.min(row.len());
        let stored = &row.stored()[..count.min(row.stored().len())];
        self.pending.extend_from_slice(stored);
        self.pending.extend(std::iter::repeat_n(row.fill().0, count - stored.len()));
    }

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
