//! One row of cells, whose edits keep the halves of wide characters together.

use std::borrow::Cow;
use std::ops::Range;

use super::cell::{Attributes, Cell};

/// A row with as many cells as the screen has columns.
///
/// Only stores the cells up to the last written one, so that clearing a row takes constant time and
/// a blank row takes no memory.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    cells: Vec<Cell>,
    len: usize,
    /// The value of the cells that are not stored. It has no extra.
    fill: Cell,
    /// The cells beyond the margin of a narrowed alternate screen. See [`Self::set_margin`].
    hidden: Option<Box<[Cell]>>,
    /// `true` if the row continues the one above (a soft wrap).
    pub(crate) wrapped: bool,
}

impl Row {
    pub(crate) fn new(cols: usize, fill: Cell) -> Self {
        Self { cells: Vec::new(), len: cols, fill, hidden: None, wrapped: false }
    }

    /// Creates a row that starts with these cells, at most `cols`. The rest is blank.
    pub(crate) fn from_cells(cells: Vec<Cell>, cols: usize) -> Self {
        Self { cells, len: cols, fill: Cell::BLANK, hidden: None, wrapped: false }
    }

    /// Returns the stored cells. All others are [`Self::fill`].
    pub(crate) fn stored(&self) -> &[Cell] {
        &self.cells
    }

    /// Returns the value and the number of the cells that are not stored.
    pub(crate) fn fill(&self) -> (Cell, usize) {
        (self.fill, self.len - self.cells.len())
    }

    /// Returns the cells up to the last one that is not blank.
    pub(crate) fn used(&self) -> Cow<'_, [Cell]> {
        if self.is_filled() {
            let mut cells = self.cells.clone();
            cells.resize(self.len, self.fill);
            return Cow::Owned(cells);
        }
        Cow::Borrowed(&self.cells[..self.used_len()])
    }

    /// Returns the cells of a range for writing.
    pub(crate) fn span(&mut self, range: Range<usize>) -> &mut [Cell] {
        self.store(range.end);
        &mut self.cells[range]
    }

    pub(crate) fn set(&mut self, x: usize, cell: Cell) {
        self.store(x + 1);
        self.cells[x] = cell;
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns a cell. Beyond the end of the row, returns a blank one.
    pub(crate) fn get(&self, x: usize) -> Cell {
        match self.cells.get(x) {
            Some(&cell) => cell,
            None if x < self.len => self.fill,
            None => Cell::BLANK,
        }
    }

    /// Returns the number of columns up to the last cell with a character.
    pub(crate) fn content_len(&self) -> usize {
        if self.is_filled() && self.fill.has_content() {
            return self.len;
        }
        let last = self.cells.iter().rposition(|cell| cell.has_content());
        last.map_or(0, |x| (x + self.cells[x].width().max(1)).min(self.len))
    }

    /// Returns the number of columns up to the last cell that is not blank.
    pub(crate) fn used_len(&self) -> usize {
        if self.is_filled() {
            return self.len;
        }
        self.cells.iter().rposition(|&cell| cell != Cell::BLANK).map_or(0, |x| x + 1)
    }

    /// Returns the cells beyond the margin.
    pub(crate) fn hidden(&self) -> &[Cell] {
        self.hidden.as_deref().unwrap_or_default()
    }

    /// Turns the row into a new one that consists of `fill`.
    pub(crate) fn clear(&mut self, fill: Cell) {
        self.cells.clear();
        self.hidden = None;
        self.fill = fill;
        self.wrapped = false;
    }

    /// Sets all cells, including those beyond the margin.
    pub(crate) fn fill_all(&mut self, fill: Cell) {
        self.cells.clear();
        self.hidden.iter_mut().for_each(|hidden| hidden.fill(fill));
        self.fill = fill;
        self.wrapped = false;
    }

    /// Changes the number of columns. Keeps the cells beyond a narrower margin.
    ///
    /// The alternate screen of xterm.js does the same, and shows these cells again when it widens.
    pub(crate) fn set_margin(&mut self, cols: usize) {
        if cols == self.len {
            return;
        }

        if cols < self.len {
            let mut hidden: Vec<Cell> = (cols..self.len).map(|x| self.get(x)).collect();
            // The margin cuts a wide character in half, so both halves become empty.
            if hidden[0].is_tail() {
                hidden[0] = Cell::empty(hidden[0].attributes());
            }

            hidden.extend(self.hidden());
            self.resize(cols);
            self.hidden = Some(hidden.into());
            return;
        }

        let old = self.len;
        let hidden = self.hidden.take().unwrap_or_default();
        let hidden = &hidden[..hidden.len().min(cols - old)];
        self.resize(cols);
        if hidden.iter().any(|&cell| cell != Cell::BLANK) {
            self.span(old..old + hidden.len()).copy_from_slice(hidden);
            // A wide character at the new margin is cut in half.
            self.resize(cols);
        }
    }

    /// Takes over the empty cells of `old` from column `start` on.
    pub(crate) fn keep_erased(&mut self, old: &Self, start: usize) {
        for x in start..self.len.min(old.used_len()) {
            self.set(x, old.get(x));
        }
    }

    /// Changes the number of columns. Drops the cells beyond the new end.
    pub(crate) fn resize(&mut self, cols: usize) {
        // New cells are blank, so the old fill must be stored before it is replaced.
        if cols > self.len && self.is_filled() {
            self.store(self.len);
        }

        if cols > self.len {
            self.fill = Cell::BLANK;
        }

        self.len = cols;
        self.cells.truncate(cols);
        self.cells.shrink_to_fit();

        // The right half of a wide character in the last column was cut off.
        let last = self.get(cols - 1);
        if last.is_wide() {
            self.set(cols - 1, Cell::empty(last.attributes()));
        }
    }

    /// Replaces the extra of each cell that has one.
    pub(crate) fn replace_extras(&mut self, mut replace: impl FnMut(u32) -> u32) {
        for cell in self.cells.iter_mut().filter(|cell| cell.extra() != 0) {
            *cell = cell.with_extra(replace(cell.extra()));
        }
    }

    /// Returns `true` if there are cells that are neither stored nor blank.
    fn is_filled(&self) -> bool {
        self.fill != Cell::BLANK && self.cells.len() < self.len
    }

    /// Stores at least the first `count` cells.
    fn store(&mut self, count: usize) {
        if self.cells.capacity() < count {
            // Doubles the capacity, but not beyond the length of the row.
            let capacity = count.max(2 * self.cells.capacity()).min(self.len.max(count));
            self.cells.reserve_exact(capacity - self.cells.len());
        }

        if self.cells.len() < count {
            self.cells.resize(count, self.fill);
        }
    }

    /// Erases cells. A wide character that loses one half also loses the other one.
    pub(crate) fn erase(&mut self, range: Range<usize>, fill: Cell) {
        let range = range.start..range.end.min(self.len());
        if range.is_empty() {
            return;
        }

        self.split_before(range.start, fill);
        self.split_before(range.end, fill);
        // Erasing up to the end needs no stored cells, because the fill stands for them.
        if range.end == self.len {
            self.store(range.start);
            self.cells.truncate(range.start);
            self.fill = fill;
        } else {
            self.span(range).fill(fill);
        }
    }

    /// Erases the cells that are not protected (DECSED, DECSEL).
    pub(crate) fn erase_unprotected(&mut self, range: Range<usize>, fill: Cell) {
        // The common case, without protected cells, is as fast as a normal erase.
        let is_protected = |cell: &Cell| cell.is_protected();
        if range == (0..self.len)
            && !self.cells.iter().any(is_protected)
            && !is_protected(&self.fill)
        {
            return self.erase(range, fill);
        }

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

    /// Inserts cells at `x`. Shifts the rest to the right.
    pub(crate) fn insert(&mut self, x: usize, count: usize, fill: Cell) {
        // A pending wrap (`x == len`) counts as the first column here, as in xterm.js.
        let x = x % self.len();
        self.break_before(x, fill);
        let count = count.min(self.len() - x);
        self.store(x);
        self.cells.splice(x..x, std::iter::repeat_n(fill, count));
        self.cells.truncate(self.len);
        let shifted = self.get(x + count);

        if shifted.is_tail() {
            self.set(x + count, Cell::empty(shifted.attributes()));
        }

        // The shift may have cut a wide character at the end in half.
        self.break_before(self.len(), fill);
    }

    /// Deletes cells at `x`. Shifts the rest to the left and fills the end.
    pub(crate) fn delete(&mut self, x: usize, count: usize, fill: Cell) {
        let x = x % self.len();
        let count = count.min(self.len() - x);
        let len = self.len();

        if fill == self.fill {
            // The cells that are not stored are all equal, so only stored ones move.
            let stored = self.cells.len();
            self.cells.drain(x.min(stored)..(x + count).min(stored));
        } else {
            self.span(0..len).copy_within(x + count.., x);
            self.cells.truncate(len - count);
            self.fill = fill;
        }

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

    /// Erases the left half of a wide character whose right half is at `x`.
    pub(crate) fn break_before(&mut self, x: usize, fill: Cell) {
        if x > 0 && self.get(x - 1).is_wide() {
            self.set(x - 1, fill);
        }
    }

    /// Erases the right half at `x` of a wide character whose left half was overwritten.
    pub(crate) fn mend_right(&mut self, x: usize, attributes: Attributes) {
        if x < self.len() && self.get(x).is_tail() {
            self.set(x, Cell::empty(attributes));
        }
    }

    /// Erases both halves of a wide character that spans the boundary before `x`.
    fn split_before(&mut self, x: usize, fill: Cell) {
        if x > 0 && x < self.len() && self.get(x - 1).is_wide() {
            self.set(x - 1, fill);
            self.set(x, fill);
        }
    }
}
