//! One row of cells, and the edits that keep both halves of wide characters together.

use std::ops::Range;

use super::cell::{Attributes, Cell};

/// A row of exactly as many cells as the screen has columns.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    cells: Box<[Cell]>,
    /// The cells from here on are blank, so that a short line costs little to clear and to pack.
    touched: usize,
    /// Continues the row above it: a soft wrap, not a line end.
    pub(crate) wrapped: bool,
}

impl Row {
    pub(crate) fn new(cols: usize, fill: Cell) -> Self {
        Self::from_cells(vec![fill; cols])
    }

    pub(crate) fn from_cells(cells: Vec<Cell>) -> Self {
        Self { touched: cells.len(), cells: cells.into_boxed_slice(), wrapped: false }
    }

    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The cells of a range, to be written to.
    pub(crate) fn span(&mut self, range: Range<usize>) -> &mut [Cell] {
        self.touched = self.touched.max(range.end);
        &mut self.cells[range]
    }

    pub(crate) fn set(&mut self, x: usize, cell: Cell) {
        self.touched = self.touched.max(x + 1);
        self.cells[x] = cell;
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The cell, a blank one beyond the row's end.
    pub(crate) fn get(&self, x: usize) -> Cell {
        self.cells.get(x).copied().unwrap_or_default()
    }

    /// Columns up to the last cell with a character in it.
    pub(crate) fn content_len(&self) -> usize {
        let last = self.cells[..self.touched].iter().rposition(|cell| cell.has_content());
        last.map_or(0, |x| (x + self.cells[x].width().max(1)).min(self.len()))
    }

    /// Columns up to the last cell that differs from one never written to.
    pub(crate) fn used_len(&self) -> usize {
        let touched = &self.cells[..self.touched];
        touched.iter().rposition(|&cell| cell != Cell::BLANK).map_or(0, |x| x + 1)
    }

    pub(crate) fn clear(&mut self, fill: Cell) {
        if fill == Cell::BLANK {
            self.cells[..self.touched].fill(fill);
            self.touched = 0;
        } else {
            self.cells.fill(fill);
            self.touched = self.len();
        }
        self.wrapped = false;
    }

    pub(crate) fn resize(&mut self, cols: usize) {
        let mut cells = std::mem::take(&mut self.cells).into_vec();
        cells.resize(cols, Cell::BLANK);
        if let Some(last) = cells.last_mut().filter(|cell| cell.is_wide()) {
            *last = Cell::BLANK;
        }
        self.touched = self.touched.min(cols);
        self.cells = cells.into_boxed_slice();
    }

    /// Erases cells; a wide character that loses a half loses the other one too.
    pub(crate) fn erase(&mut self, range: Range<usize>, fill: Cell) {
        let range = range.start..range.end.min(self.len());
        if range.is_empty() {
            return;
        }
        self.split_before(range.start, fill);
        self.split_before(range.end, fill);
        if fill == Cell::BLANK {
            let end = range.end.min(self.touched);
            self.cells[range.start.min(end)..end].fill(fill);
        } else {
            self.span(range).fill(fill);
        }
    }

    /// Erases the cells that are not protected (DECSED, DECSEL).
    pub(crate) fn erase_unprotected(&mut self, range: Range<usize>, fill: Cell) {
        for x in range.start..range.end.min(self.len()) {
            let cell = self.get(x);
            if cell.is_protected() {
                continue;
            }
            if x > 0 && cell.is_tail() && self.get(x - 1).is_wide() {
                self.set(x - 1, fill);
            }
            if cell.is_wide() && x + 1 < self.len() {
                self.set(x + 1, fill);
            }
            self.set(x, fill);
        }
    }

    /// Shifts the cells from `x` to the right and fills the gap.
    pub(crate) fn insert(&mut self, x: usize, count: usize, fill: Cell) {
        let x = x % self.len();
        self.break_before(x, fill);
        let count = count.min(self.len() - x);
        let end = self.len() - count;
        self.span(0..end + count).copy_within(x..end, x + count);
        self.span(x..x + count).fill(fill);
        let shifted = self.get(x + count);
        if shifted.is_tail() {
            self.set(x + count, Cell::empty(shifted.attributes()));
        }
        // The left half of a wide character alone at the end.
        self.break_before(self.len(), fill);
    }

    /// Removes cells at `x`, shifts the rest to the left and fills the end.
    pub(crate) fn delete(&mut self, x: usize, count: usize, fill: Cell) {
        let x = x % self.len();
        let count = count.min(self.len() - x);
        let len = self.len();
        self.span(0..len).copy_within(x + count.., x);
        self.span(len - count..len).fill(fill);
        self.break_before(x, fill);
        if self.get(x).is_tail() {
            self.set(x, fill);
        }
    }

    /// Writes one character, which must fit into the row.
    pub(crate) fn write(&mut self, x: usize, cell: Cell, attributes: Attributes) {
        self.break_before(x, Cell::empty(attributes));
        self.set(x, cell);
        if cell.is_wide() {
            self.set(x + 1, Cell::tail(attributes));
        }
        self.mend_right(x + cell.width().max(1), attributes);
    }

    /// Empties the left half of a wide character whose right one is at `x`.
    pub(crate) fn break_before(&mut self, x: usize, fill: Cell) {
        if x > 0 && self.get(x - 1).is_wide() {
            self.set(x - 1, fill);
        }
    }

    /// Empties the cell at `x` if the left half of its wide character was written over.
    pub(crate) fn mend_right(&mut self, x: usize, attributes: Attributes) {
        if x < self.len() && self.get(x).is_tail() {
            self.set(x, Cell::empty(attributes));
        }
    }

    /// Empties the halves of a wide character that lies across the column.
    fn split_before(&mut self, x: usize, fill: Cell) {
        if x > 0 && x < self.len() && self.get(x - 1).is_wide() {
            self.set(x - 1, fill);
            self.set(x, fill);
        }
    }
}
