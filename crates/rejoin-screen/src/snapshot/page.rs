//! A page of the history: the bytes that draw its lines, without the rest of the screen.

use super::painter::Painter;
use super::{MAX_EXTRAS, ROW_BYTES};
use crate::grid::extras::Extras;
use crate::grid::row::Row;
use crate::terminal::Terminal;

/// The maximum number of bytes that separate a continued row from the one above.
const WRAPPED_ROW_BYTES: usize = 64;
/// The maximum number of bytes at the end of a page, which clear the pen and the link.
const END_BYTES: usize = 16;

/// The maximum work on a page, in cells. Takes about one millisecond, like a turn of other work.
const MAX_WORK: usize = 384 * 1024;
/// The work on a cell with combining characters, a link or an underline, in cells.
const EXTRA_WORK: usize = 200;

/// A drawn page: lines, counted from the oldest of the history.
#[derive(Debug)]
pub(crate) struct DrawnPage {
    pub(crate) first: usize,
    /// `true` if the first row continues the line before the page.
    pub(crate) continues: bool,
    pub(crate) bytes: Vec<u8>,
}

/// Draws the newest lines before `end`: at most `max_lines` in at most `max_bytes`, and fewer if
/// that would take too long.
///
/// A line that does not fit alone is drawn without attributes and, if necessary, shortened.
pub(crate) fn page(
    terminal: &Terminal,
    end: usize,
    max_lines: usize,
    max_bytes: usize,
) -> DrawnPage {
    let budget = max_bytes.saturating_sub(END_BYTES);
    let mut lines = fitting(terminal, end, max_lines, (budget, MAX_WORK));

    // `fitting` is an estimate. If it was too high, tries fewer lines.
    while lines > 0 {
        let page = draw(terminal, end - lines..end, Painter::new(terminal.cols));
        if page.bytes.len() <= max_bytes {
            return page;
        }

        lines /= 2;
    }

    let lines = max_lines.min(end).min(1);
    draw(terminal, end - lines..end, Painter::plain(terminal.cols, budget))
}

/// Returns the number of history lines before `end`, newest first and at most `max_lines`, that
/// approximately fit the limits of bytes and work.
pub(super) fn fitting(
    terminal: &Terminal,
    end: usize,
    max_lines: usize,
    (max_bytes, max_work): (usize, usize),
) -> usize {
    let history = &terminal.normal.history;
    let mut extras = Extras::default();
    let (mut bytes, mut work) = (0, 0);

    for line in (end.saturating_sub(max_lines)..end).rev() {
        let Some(row) = history.row(line, terminal.cols, &mut extras) else { break };
        let mut painter = Painter::new(terminal.cols);
        painter.row(&extras, None, &row);
        let around = if row.wrapped { WRAPPED_ROW_BYTES } else { ROW_BYTES };
        bytes += painter.take().len() + around;

        let used = row.used();
        let with_extras = used.iter().filter(|cell| cell.extra() != 0).count();
        work += used.len() + with_extras * EXTRA_WORK;
        // Always draws the first line: an empty page would look like the end of the history.
        let is_first = line + 1 == end;
        if bytes > max_bytes || (work > max_work && !is_first) {
            return end - line - 1;
        }

        if extras.len() > MAX_EXTRAS {
            extras = Extras::default();
        }
    }

    max_lines.min(end)
}

fn draw(terminal: &Terminal, lines: std::ops::Range<usize>, mut painter: Painter) -> DrawnPage {
    let history = &terminal.normal.history;
    let first = lines.start;
    let mut extras = Extras::default();
    let mut above: Option<Row> = None;
    let mut continues = false;

    for line in lines {
        if extras.len() > MAX_EXTRAS {
            extras = Extras::default();
            // The row above refers to the table that was just cleared.
            let last = line.checked_sub(1).filter(|_| above.is_some());
            above = last.and_then(|line| history.row(line, terminal.cols, &mut extras));
        }

        let Some(row) = history.row(line, terminal.cols, &mut extras) else { break };
        continues |= line == first && row.wrapped;
        painter.row(&extras, above.as_ref().map(|above| (&extras, above)), &row);
        above = Some(row);
    }

    painter.set_pen(Default::default(), Default::default(), None);
    DrawnPage { first, continues, bytes: painter.take() }
}
