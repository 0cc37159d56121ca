//! Rewrapping of a screen without history.
//!
//! Unlike in the general case, rows move down into blank space before any row scrolls out.

use std::ops::Range;

use crate::grid::buffer::Buffer;
use crate::grid::cell::Cell;
use crate::grid::extras::Extras;
use crate::grid::row::Row;

/// Rewraps the screen, from `old` columns to `new`.
pub(super) fn rewrap(buffer: &mut Buffer, old: usize, new: usize, extras: &Extras) {
    let rows: Vec<Row> = std::mem::take(&mut buffer.rows).into();
    let height = rows.len();
    let mut reflow = ScreenReflow {
        cursor: buffer.y,
        base: 0,
        y: buffer.y,
        saved: usize::try_from(buffer.saved.y).unwrap_or(0),
        height,
        limit: height.saturating_add(buffer.history.limits().lines),
        old,
        new,
        len: height,
        rows,
    };

    if new > old {
        reflow.widen();
    } else {
        reflow.narrow();
    }

    reflow.finish(buffer, extras);
}

/// The rows of the screen and above it, and positions in them.
struct ScreenReflow {
    rows: Vec<Row>,
    /// The number of rows without those that narrowing has dropped from the end.
    len: usize,
    /// The index of the screen's first row.
    base: usize,
    /// The index of the cursor's row before any change.
    cursor: usize,
    /// The cursor's row on the screen.
    y: usize,
    /// The index of the saved cursor's row.
    saved: usize,
    height: usize,
    /// The maximum number of rows, including those of the screen.
    limit: usize,
    old: usize,
    new: usize,
}

impl ScreenReflow {
    /// Returns the rows of each line: a row and the rows that continue it.
    fn lines(&self) -> Vec<Range<usize>> {
        let mut lines: Vec<Range<usize>> = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            match lines.last_mut().filter(|_| row.wrapped) {
                Some(line) => line.end = index + 1,
                None => lines.push(index..index + 1),
            }
        }

        lines
    }

    /// Returns the cells of a line, without the empty cells before wide characters that did not
    /// fit.
    fn cells(&self, line: Range<usize>) -> Vec<Cell> {
        let mut cells = Vec::new();
        for index in line.clone() {
            let row = &self.rows[index];
            let len = if index + 1 == line.end {
                row.content_len()
            } else {
                let last = row.get(self.old - 1);
                let gap = !last.has_content() && last.width() == 1;
                let early = gap && self.rows[index + 1].get(0).is_wide();
                self.old - usize::from(early)
            };

            cells.extend((0..len.min(row.len())).map(|x| row.get(x)));
        }

        cells
    }

    /// Wraps cells into rows of the new length. The first row gets the flag `first_wrapped`.
    fn wrap(&self, cells: &[Cell], first_wrapped: bool) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        let mut rest = cells;

        while !rest.is_empty() {
            let mut len = rest.len().min(self.new);
            // A wide character cannot begin in the last column, so it begins the next row.
            if len == self.new && rest[len - 1].is_wide() {
                len -= 1;
            }

            let (part, more) = rest.split_at(len);
            let mut row = Row::from_cells(part.to_vec(), self.new);
            row.wrapped = first_wrapped || !rows.is_empty();
            rows.push(row);
            rest = more;
        }

        rows
    }

    /// Rewraps into longer rows.
    fn widen(&mut self) {
        let mut rows = Vec::with_capacity(self.rows.len());
        for line in self.lines() {
            // As in xterm.js, the cursor's line stays as it is, because its program redraws it.
            if line.len() == 1 || line.contains(&self.cursor) {
                rows.extend(line.map(|index| self.rows[index].clone()));
                continue;
            }

            let wrapped = self.rows[line.start].wrapped;
            let mut line = self.wrap(&self.cells(line), wrapped);

            while line.len() > 1 && line.last().is_some_and(|row| row.content_len() == 0) {
                line.pop();
            }

            if line.is_empty() {
                line.push(Row::new(self.new, Cell::BLANK));
            }

            rows.append(&mut line);
        }

        let removed = self.rows.len() - rows.len();
        self.rows = rows;

        // As in xterm.js, rows from above the screen fill the gap first. When none are left, the
        // cursor moves up and blank rows are appended.
        for _ in 0..removed {
            if self.base > 0 {
                self.base -= 1;
                continue;
            }

            self.y = self.y.saturating_sub(1);
            if self.rows.len() < self.height {
                self.rows.push(Row::new(self.new, Cell::BLANK));
            }
        }

        self.saved = self.saved.saturating_sub(removed);
    }

    /// Rewraps into shorter rows.
    fn narrow(&mut self) {
        let mut added = 0;
        let mut inserted: Vec<(usize, Vec<Row>)> = Vec::new();

        // Goes from the last line to the first, as xterm.js does. Like xterm.js, also rewraps rows
        // that are already dropped, and takes the line at the moved cursor for the cursor's line.
        for line in self.lines().into_iter().rev() {
            let is_short = line.len() == 1 && self.rows[line.start].content_len() <= self.new;
            if is_short || line.contains(&(self.base + self.y)) {
                continue;
            }

            let wrapped = self.rows[line.start].wrapped;
            let mut rows = self.wrap(&self.cells(line.clone()), wrapped);

            // As in xterm.js, the rows that the line had before keep their empty cells.
            let old = &self.rows[line.clone()];
            let is_as_long = rows.len() == old.len();
            if let Some(last) = rows.last_mut().filter(|_| is_as_long) {
                let used = last.stored().len();
                last.keep_erased(&old[old.len() - 1], used + 1);
            }

            while rows.len() < line.len() {
                let mut blank = Row::new(self.new, Cell::BLANK);
                blank.keep_erased(&old[rows.len()], 0);
                blank.wrapped = true;
                rows.push(blank);
            }

            let more = rows.len() - line.len();
            added += more;
            let overflow = rows.split_off(line.len());
            let end = line.end;
            self.rows.splice(line, rows);
            inserted.push((end, overflow));
            self.make_room(more, added);
        }

        self.insert(inserted);
        self.rows.iter_mut().for_each(|row| row.resize(self.new));
    }

    /// Inserts rows before the rows with these indices. The list must start with the last ones.
    ///
    /// Rows whose target was dropped go to the end.
    fn insert(&mut self, inserted: Vec<(usize, Vec<Row>)>) {
        let mut old = std::mem::take(&mut self.rows);
        old.truncate(self.len);

        for (at, rows) in inserted {
            let mut below = old.split_off(at.min(old.len()));
            below.reverse();
            self.rows.append(&mut below);
            self.rows.extend(rows.into_iter().rev());
        }

        self.rows.extend(old.into_iter().rev());
        self.rows.reverse();
    }

    /// Moves the screen down by added rows: `more` now, `added` in total.
    fn make_room(&mut self, more: usize, added: usize) {
        let filled =
            if self.base == 0 && self.y + 1 != self.len { self.y + more } else { self.len + more };

        let trimmed = filled.saturating_sub(self.limit);
        for _ in trimmed..more {
            if self.base == 0 {
                if self.y + 1 < self.height {
                    self.y += 1;
                    self.len -= 1;
                } else {
                    self.base = 1;
                }
            } else if self.base + self.height < self.limit.min(self.len + added) {
                self.base += 1;
            }
        }

        self.saved = (self.saved + more).min(self.base + self.height - 1);
    }

    /// Writes the result into the buffer.
    fn finish(mut self, buffer: &mut Buffer, extras: &Extras) {
        let over = self.rows.len().saturating_sub(self.limit);
        self.rows.drain(..over);
        let base = self.base.min(self.rows.len().saturating_sub(self.height));
        let mut screen = self.rows.split_off(base);
        screen.resize(self.height, Row::new(self.new, Cell::BLANK));
        buffer.history.clear();
        self.rows.iter().for_each(|row| buffer.history.push(row, extras));
        buffer.rows = screen.into();
        buffer.y = self.y.min(self.height - 1);
        buffer.saved.y = self.saved.cast_signed() - base.cast_signed();
    }
}
