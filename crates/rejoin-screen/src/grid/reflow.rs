//! Rewrapping of lines when the number of columns changes, as xterm.js does.
//!
//! The cursor's line is not rewrapped, because its program redraws it. Rows are rewrapped from
//! oldest to newest. Each row leaves the old history before it enters the new one, so that both
//! together take no more memory than one.

mod screen_only;
mod wrapper;

use std::collections::VecDeque;

use super::buffer::Buffer;
use super::cell::Cell;
use super::extras::Extras;
use super::history::{History, ScrollbackLimits};
use super::row::Row;
use wrapper::LineWrapper;

/// The approximate maximum size of a packed cell, in bytes.
const CELL_BYTES: usize = 64;
/// The cost of a row, in cells.
const ROW_WORK: usize = 8;

/// Changes the length of all rows on the screen, without rewrapping.
pub(crate) fn set_columns(buffer: &mut Buffer, cols: usize) {
    buffer.rows.iter_mut().for_each(|row| row.resize(cols));
}

/// Changes the margin of all rows on the screen. Keeps the cells beyond it.
pub(crate) fn set_margin(buffer: &mut Buffer, cols: usize) {
    buffer.rows.iter_mut().for_each(|row| row.set_margin(cols));
}

/// A pending change of columns.
#[derive(Clone, Debug)]
pub(crate) struct Reflow {
    old: usize,
    new: usize,
    /// The number of rows on the screen.
    height: usize,
    limits: ScrollbackLimits,
    /// The history rows that are not yet rewrapped.
    history: History,
    /// The screen rows that are not yet rewrapped. They follow the history.
    screen: VecDeque<Row>,
    lines: Vec<Line>,
    /// The index of the line that contains the cursor, for widening.
    cursor_line: usize,
    /// The index of the screen's first row.
    base: usize,
    /// The cursor's row on the screen.
    y: usize,
    /// The saved cursor's row, counted from the first row of the history.
    saved: usize,
    phase: Phase,
    next: RowCursor,
    wrapper: LineWrapper,
    /// The extras of the rows between the old and the new history.
    extras: Extras,
    /// The rewrapped rows.
    out: History,
    /// The number of rows still to drop, because only the newest rows fit the limit.
    skip: usize,
    /// The number of rows to keep. Known after the counting phase.
    kept: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Counts the rows that each line will take. Only narrowing needs it.
    Count,
    /// Rewraps the rows.
    Emit,
}

/// The next row to process: its index, its line, and its row within the line.
#[derive(Clone, Copy, Debug, Default)]
struct RowCursor {
    index: usize,
    line: usize,
    row: usize,
}

/// A line: a row and the rows that continue it.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    rows: usize,
    /// The number of rows that the line has become so far.
    becomes: usize,
    /// The number of empty rows at the end of the line.
    blank: usize,
    /// `true` if the line is not rewrapped.
    stays: bool,
}

impl Reflow {
    /// Starts rewrapping the history and the screen, from `old` columns to `new`.
    ///
    /// Without a history, does all work at once and returns `None`. Otherwise takes the rows and
    /// the history out of the buffer until [`Self::finish`].
    pub(crate) fn begin(
        buffer: &mut Buffer,
        old: usize,
        new: usize,
        extras: &Extras,
    ) -> Option<Box<Self>> {
        if buffer.history.len() == 0 {
            screen_only::rewrap(buffer, old, new, extras);
            return None;
        }

        let history = std::mem::take(&mut buffer.history);
        let screen = std::mem::take(&mut buffer.rows);
        let base = history.len();
        let mut lines: Vec<Line> = Vec::new();
        let mut cursor_line = 0;
        // Groups the rows into lines, and finds the line with the cursor.
        let wrapped = history.wrapped().chain(screen.iter().map(|row| row.wrapped));

        for (index, wrapped) in wrapped.enumerate() {
            match lines.last_mut().filter(|_| wrapped) {
                Some(line) => line.rows += 1,
                None => lines.push(Line { rows: 1, ..Line::default() }),
            }

            if index == base + buffer.y {
                cursor_line = lines.len() - 1;
            }
        }

        Some(Box::new(Self {
            old,
            new,
            height: screen.len(),
            limits: history.limits(),
            cursor_line,
            base,
            y: buffer.y,
            saved: base.saturating_add_signed(buffer.saved.y),
            phase: if new < old { Phase::Count } else { Phase::Emit },
            next: RowCursor::default(),
            wrapper: LineWrapper::new(old, new),
            extras: Extras::default(),
            out: history.successor(ScrollbackLimits { lines: usize::MAX, ..history.limits() }),
            skip: 0,
            kept: 0,
            history,
            screen,
            lines,
        }))
    }

    /// Does about `work` cells of work. Returns `true` once everything is done.
    pub(crate) fn step(&mut self, work: usize, extras: &Extras) -> bool {
        let mut done = 0;
        while done < work {
            let Some(row) = self.take_row(extras) else {
                if self.phase == Phase::Emit {
                    return true;
                }

                self.place_screen();
                continue;
            };

            done += 1 + row.stored().len();
            match self.phase {
                Phase::Count => self.count(row),
                Phase::Emit => done += self.emit(row),
            }

            if self.extras.wants_sweep(self.height) {
                self.extras.sweep(self.wrapper.extras());
            }
        }

        false
    }

    /// Returns the next row, with its extras in `self.extras`.
    fn take_row(&mut self, extras: &Extras) -> Option<Row> {
        let cols = self.old.max(self.new);
        let index = self.next.index;
        let of_history = match self.phase {
            Phase::Count => self.history.row(index, cols, &mut self.extras),
            Phase::Emit => self.history.pop_oldest(cols, &mut self.extras),
        };

        let row = match (of_history, self.phase) {
            (Some(mut row), _) => {
                // Restores the flag, which was lost when the rows before it left the history.
                row.wrapped = self.next.row > 0;
                row
            }
            (None, Phase::Count) => self.screen_row(index - self.history.len(), extras)?,
            (None, Phase::Emit) => {
                let row = self.screen_row(0, extras)?;
                self.screen.pop_front();
                row
            }
        };

        self.next.index += 1;
        Some(row)
    }

    fn screen_row(&mut self, y: usize, extras: &Extras) -> Option<Row> {
        let mut row = self.screen.get(y)?.clone();
        row.replace_extras(|extra| {
            extras.get(extra).map_or(0, |extra| self.extras.intern(extra.clone()))
        });
        Some(row)
    }

    /// Moves to the next row. Returns the current row's line, and `true` if the row was its last.
    fn advance(&mut self) -> (usize, bool) {
        let line = self.next.line;
        let is_last = self.next.row + 1 == self.lines[line].rows;
        if is_last {
            (self.next.line, self.next.row) = (line + 1, 0);
        } else {
            self.next.row += 1;
        }

        (line, is_last)
    }

    /// Counts the rows that a row's line will take.
    fn count(&mut self, row: Row) {
        let (number, is_last) = self.advance();
        let line = &mut self.lines[number];
        line.stays = line.rows == 1 && row.content_len() <= self.new;
        if !line.stays {
            self.wrapper.push(row, is_last, |_| line.becomes += 1);
        }

        if is_last {
            line.becomes = line.becomes.max(line.rows);
        }
    }

    /// Places the screen among the rows, once all lines are counted.
    fn place_screen(&mut self) {
        let rows: usize = self.lines.iter().map(|line| line.rows).sum();
        let limit = self.height.saturating_add(self.limits.lines);
        let mut added = 0;
        let mut start = rows;

        // Goes from the newest line to the oldest, because xterm.js moves the screen in this order,
        // and the bounds depend on the rows added so far. As in xterm.js, the line at the moved
        // cursor is taken for the cursor's line.
        for line in self.lines.iter_mut().rev() {
            start -= line.rows;
            line.stays |= (start..start + line.rows).contains(&(self.base + self.y));
            if line.stays {
                continue;
            }

            let more = line.becomes - line.rows;
            added += more;
            let moved = more.min(limit.saturating_sub(rows));
            let most = limit.min(rows + added).saturating_sub(self.height);
            self.base = self.base.max(most.min(self.base + moved));
            self.saved = (self.saved + more).min(self.base + self.height - 1);
        }

        self.skip = (rows + added).saturating_sub(limit);
        for line in &mut self.lines {
            line.becomes = 0;
        }

        self.kept = rows + added - self.skip;
        self.base = self.base.min(self.kept.saturating_sub(self.height));
        (self.phase, self.next) = (Phase::Emit, RowCursor::default());
    }

    /// Rewraps a row. Returns the amount of work, in cells.
    fn emit(&mut self, mut row: Row) -> usize {
        let narrows = self.new < self.old;
        let (number, is_last) = self.advance();
        let line = &mut self.lines[number];

        if !narrows {
            line.stays = number == self.cursor_line || line.rows == 1;
        }

        let mut last = None;
        let mut sink =
            RowSink { out: &mut self.out, extras: &self.extras, skip: &mut self.skip, rows: 0 };
        if line.stays {
            row.resize(self.new);
            line.becomes += 1;
            sink.push(&row);
        } else {
            // As in xterm.js, if a narrowed line has as many rows as before, its last row keeps its
            // empty cells.
            last = (narrows && is_last && row.used_len() > row.content_len()).then(|| row.clone());
            self.wrapper.push(row, is_last, |cells| {
                let mut row = Row::from_cells(cells.to_vec(), self.new);
                if let Some(last) = last.as_ref().filter(|_| line.becomes + 1 == line.rows) {
                    row.keep_erased(last, cells.len() + 1);
                }

                row.wrapped = line.becomes > 0;
                line.becomes += 1;
                line.blank = if row.content_len() == 0 { line.blank + 1 } else { 0 };
                sink.push(&row);
            });
        }

        if is_last && !line.stays {
            let mut blank = Row::new(self.new, Cell::BLANK);
            // A narrowed line keeps at least its old number of rows. A widened one loses the empty
            // rows at its end, except for the first.
            if narrows {
                if let Some(last) = &last {
                    blank.keep_erased(last, 0);
                }

                blank.wrapped = true;
                for _ in line.becomes..line.rows {
                    sink.push(&blank);
                }
            } else if line.becomes == 0 {
                line.becomes = 1;
                sink.push(&blank);
            } else {
                for _ in 0..line.blank.min(line.becomes - 1) {
                    line.becomes -= 1;
                    sink.out.drop_newest();
                }
            }
        }

        let rows = sink.rows;
        self.limit_memory();
        rows * ROW_WORK
    }

    /// Limits the new history so that both histories together stay within the limit.
    fn limit_memory(&mut self) {
        // The new history also contains the screen's rows until `finish` takes them out.
        let screen = self.height * (self.new + 1) * CELL_BYTES;
        let bytes = self.limits.bytes.saturating_sub(self.history.bytes()) + screen;
        self.out.set_limits(ScrollbackLimits { lines: usize::MAX, bytes });
    }

    /// Returns the rows and the history to the buffer, after the last step.
    pub(crate) fn finish(mut self, buffer: &mut Buffer, extras: &mut Extras) {
        let mut rows = self.kept;
        if self.new > self.old {
            rows = self.lines.iter().map(|line| line.becomes).sum();
            let removed = self.lines.iter().map(|line| line.rows).sum::<usize>() - rows;
            let above = removed.min(self.base);
            self.base -= above;
            self.y = self.y.saturating_sub(removed - above);
            self.saved = self.saved.saturating_sub(removed);
        }

        let base = self.base.min(rows.saturating_sub(self.height));
        // The screen's rows are the newest ones of the new history.
        let mut screen = VecDeque::with_capacity(self.height);

        for _ in base..rows {
            screen.extend(self.out.pop(self.new, extras));
        }

        screen.make_contiguous().reverse();
        screen.resize(self.height, Row::new(self.new, Cell::BLANK));
        self.out.set_limits(self.limits);
        buffer.history = self.out;
        buffer.rows = screen;
        buffer.y = self.y.min(self.height - 1);
        buffer.saved.y = self.saved.cast_signed() - base.cast_signed();
    }
}

/// The destination of rewrapped rows.
struct RowSink<'a> {
    out: &'a mut History,
    extras: &'a Extras,
    skip: &'a mut usize,
    rows: usize,
}

impl RowSink<'_> {
    fn push(&mut self, row: &Row) {
        self.rows += 1;
        match self.skip.checked_sub(1) {
            Some(skip) => *self.skip = skip,
            None => self.out.push(row, self.extras),
        }
    }
}
