//! Wrapping a screen anew that has no history: rows may move down before any scrolls out.

use std::ops::Range;

use crate::grid::buffer::Buffer;
use crate::grid::cell::Cell;
use crate::grid::extras::Extras;
use crate::grid::row::Row;

/// Wraps the screen anew, from `old` columns to `new`.
pub(super) fn rewrap(buffer: &mut Buffer, old: usize, new: usize, extras: &Extras) {
    let rows: Vec<Row> = std::mem::take(&mut buffer.rows).into();
    let height = rows.len();
    let mut work = Rewrap {
        cursor: buffer.y,
        base: 0,
        y: buffer.y,
        saved: usize::try_from(buffer.saved.y).unwrap_or(0),
        height,
        limit: height.saturating_add(buffer.history.limits().lines),
        old,
        new,
        rows,
    };
    if new > old {
        work.widen();
    } else {
        work.narrow();
    }
    work.finish(buffer, extras);
}

/// The rows of the screen, those that will be above it, and what points into them.
struct Rewrap {
    rows: Vec<Row>,
    /// Index of the screen's first row.
    base: usize,
    /// The cursor's row before anything moved, in the list.
    cursor: usize,
    /// The cursor's row, on the screen.
    y: usize,
    /// The saved cursor's row, in the list.
    saved: usize,
    height: usize,
    /// Rows at most, with the screen's.
    limit: usize,
    old: usize,
    new: usize,
}

impl Rewrap {
    /// The rows of each line: one, and those that continue it.
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

    /// The cells of a line, without the gaps that wide characters left at the margin.
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

    /// Cells in rows of the new length; the first row keeps its flag, the others continue it.
    fn wrap(&self, cells: &[Cell], first_wrapped: bool) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        let mut rest = cells;
        while !rest.is_empty() {
            let mut len = rest.len().min(self.new);
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

    fn widen(&mut self) {
        let mut rows = Vec::with_capacity(self.rows.len());
        for line in self.lines() {
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

    fn narrow(&mut self) {
        let mut added = 0;
        let mut replaced: Vec<(usize, Vec<Row>)> = Vec::new();
        for line in self.lines().into_iter().rev() {
            // Rows may be gone that were below the cursor.
            if line.end > self.rows.len() || line.contains(&self.cursor) {
                continue;
            }
            if line.len() == 1 && self.rows[line.start].content_len() <= self.new {
                continue;
            }
            let wrapped = self.rows[line.start].wrapped;
            let mut rows = self.wrap(&self.cells(line.clone()), wrapped);
            while rows.len() < line.len() {
                let mut blank = Row::new(self.new, Cell::BLANK);
                blank.wrapped = true;
                rows.push(blank);
            }
            let more = rows.len() - line.len();
            added += more;
            let (start, count) = (line.start, line.len());
            let beyond = rows.split_off(count);
            self.rows.splice(start..start + count, rows);
            replaced.push((start + count, beyond));
            self.make_room(more, added);
        }
        self.insert(replaced);
        self.rows.iter_mut().for_each(|row| row.resize(self.new));
    }

    /// Inserts rows, each before the row with this index, the last ones first.
    fn insert(&mut self, mut inserted: Vec<(usize, Vec<Row>)>) {
        let len = self.rows.len();
        let within = inserted.iter().position(|(at, _)| *at <= len).unwrap_or(inserted.len());
        let inner = inserted.split_off(within);
        // Those whose place is gone come to the end, as far apart as their places were.
        let mut tail = Vec::new();
        for (at, rows) in inserted {
            let at = (at - len).min(tail.len());
            tail.splice(at..at, rows);
        }
        let mut old = std::mem::take(&mut self.rows).into_iter();
        let mut taken = 0;
        for (at, rows) in inner.into_iter().rev() {
            self.rows.extend(old.by_ref().take(at - taken));
            self.rows.extend(rows);
            taken = at;
        }
        self.rows.extend(old);
        self.rows.append(&mut tail);
    }

    /// Moves the screen down over rows that were added, `more` now and `added` so far.
    fn make_room(&mut self, more: usize, added: usize) {
        let filled = if self.base == 0 && self.y + 1 != self.rows.len() {
            self.y + more
        } else {
            self.rows.len() + more
        };
        let trimmed = filled.saturating_sub(self.limit);
        for _ in trimmed..more {
            if self.base == 0 {
                if self.y + 1 < self.height {
                    self.y += 1;
                    self.rows.pop();
                } else {
                    self.base = 1;
                }
            } else if self.base + self.height < self.limit.min(self.rows.len() + added) {
                self.base += 1;
            }
        }
        self.saved = (self.saved + more).min(self.base + self.height - 1);
    }

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
        buffer.saved.y = self.saved.min(base + self.height - 1).cast_signed() - base.cast_signed();
    }
}
