//! The history: lines that scrolled out at the top, packed to little more than their text.

use std::collections::VecDeque;
use std::sync::Arc;

use super::extras::Extras;
use super::row::Row;
use packed::{Packer, Segment, unpack};

mod packed;

/// The minimum size of a full segment, in bytes, regardless of the limits.
const MIN_SEGMENT_BYTES: usize = 1024;
/// The maximum size of a full segment, in bytes.
const MAX_SEGMENT_BYTES: usize = 64 * 1024;
/// The number of segments in a full history. The oldest segment is dropped as a whole.
const SEGMENTS: usize = 64;

/// The bounds of a screen's history. The oldest lines beyond either bound are dropped.
///
/// The default keeps no history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrollbackLimits {
    /// The maximum number of lines.
    pub lines: usize,
    /// The maximum memory of the packed lines and their hyperlinks, in bytes.
    pub bytes: usize,
}

/// The rows above the screen: the newest ones within the limits.
///
/// Packing shrinks ten thousand lines from 20 MB to 1 MB. Packed lines contain their extras, so the
/// table of extras is for the screen only. Clones share the segments.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The segments, oldest first. None of them is empty.
    segments: VecDeque<NumberedSegment>,
    /// The number of the oldest line. Numbers increase throughout the terminal's life.
    oldest: usize,
    /// The number of the next line.
    next: usize,
    bytes: usize,
    limits: ScrollbackLimits,
    packer: Packer,
}

/// A segment and the number of its first line.
#[derive(Clone, Debug)]
struct NumberedSegment {
    start: usize,
    segment: Arc<Segment>,
}

impl NumberedSegment {
    fn end(&self) -> usize {
        self.start + self.segment.len()
    }
}

impl History {
    pub(crate) fn new(limits: ScrollbackLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Creates an empty history of the same terminal, whose lines continue the numbering.
    pub(crate) fn successor(&self, limits: ScrollbackLimits) -> Self {
        Self { oldest: self.oldest, next: self.oldest, ..Self::new(limits) }
    }

    pub(crate) fn len(&self) -> usize {
        self.next - self.oldest
    }

    /// Returns the number of the oldest line, counted from 0 over the terminal's life.
    pub(crate) fn oldest(&self) -> usize {
        self.oldest
    }

    /// Returns the memory of the packed lines and their hyperlinks, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.limits.lines
    }

    pub(crate) fn limits(&self) -> ScrollbackLimits {
        self.limits
    }

    /// Sets the limits and drops the oldest lines beyond them.
    pub(crate) fn set_limits(&mut self, limits: ScrollbackLimits) {
        self.limits = limits;
        self.trim();
    }

    pub(crate) fn clear(&mut self) {
        // The numbering continues, so that a dropped line's number never names another line.
        *self = Self { oldest: self.next, next: self.next, ..Self::new(self.limits) };
    }

    /// Appends a row, and drops the oldest lines beyond the limits.
    pub(crate) fn push(&mut self, row: &Row, extras: &Extras) {
        if self.limits.lines == 0 {
            return;
        }

        // Never extends a segment that a clone shares: the clone must not change, and copying the
        // segment would cost more than starting a new one.
        let segment = last_with_room(&mut self.segments, self.limits.bytes, &mut self.bytes);
        if let Some(segment) = segment {
            self.bytes -= segment.bytes();
            self.packer.pack(row, extras, segment);
            self.bytes += segment.bytes();
        } else {
            let mut segment = Segment::default();
            self.packer.pack(row, extras, &mut segment);
            self.bytes += segment.bytes();
            self.segments
                .push_back(NumberedSegment { start: self.next, segment: Arc::new(segment) });
        }

        self.next += 1;
        self.trim();
    }

    fn trim(&mut self) {
        while self.len() > self.limits.lines {
            self.drop_oldest();
        }
        // Frees whole segments, because lines have no allocations of their own.
        while self.bytes > self.limits.bytes && !self.segments.is_empty() {
            self.drop_segment();
        }
    }

    fn drop_oldest(&mut self) {
        self.oldest += 1;
        if self.segments.front().is_some_and(|first| first.end() <= self.oldest) {
            self.drop_segment();
        }
    }

    fn drop_segment(&mut self) {
        if let Some(first) = self.segments.pop_front() {
            self.oldest = self.oldest.max(first.end());
            self.bytes -= first.segment.bytes();
        }
    }

    /// Removes and returns the newest line.
    pub(crate) fn pop(&mut self, cols: usize, extras: &mut Extras) -> Option<Row> {
        let row = self.row(self.len().checked_sub(1)?, cols, extras);
        self.drop_newest();
        row
    }

    /// Drops the newest line. The history must not be empty.
    pub(crate) fn drop_newest(&mut self) {
        let Some(last) = self.segments.back_mut() else { return };
        self.bytes -= last.segment.bytes();
        // Copies the segment if a clone shares it, which is rare: only a change of size gets here.
        let segment = Arc::make_mut(&mut last.segment);
        segment.pop();
        self.next -= 1;

        if segment.is_empty() || self.next == self.oldest {
            self.segments.pop_back();
            self.packer.forget_links();
        } else {
            self.bytes += segment.bytes();
        }
    }

    /// Removes and returns the oldest line.
    pub(crate) fn pop_oldest(&mut self, cols: usize, extras: &mut Extras) -> Option<Row> {
        let row = self.row(0, cols, extras)?;
        self.drop_oldest();
        Some(row)
    }

    /// Returns whether each line continues the previous one, oldest first.
    pub(crate) fn wrapped(&self) -> impl Iterator<Item = bool> {
        let lines = |numbered: &NumberedSegment| {
            self.oldest.saturating_sub(numbered.start)..numbered.segment.len()
        };

        let all = self.segments.iter().flat_map(move |numbered| {
            lines(numbered).map(|line| numbered.segment.is_wrapped(line))
        });
        // The line before the first one was dropped, so the first one continues nothing.
        all.enumerate().map(|(line, wrapped)| wrapped && line > 0)
    }

    /// Returns the newest `count` lines, oldest first. Adds their extras to `extras`.
    pub(crate) fn newest(&self, count: usize, cols: usize, extras: &mut Extras) -> Vec<Row> {
        let lines = self.len().saturating_sub(count)..self.len();
        lines.filter_map(|line| self.row(line, cols, extras)).collect()
    }

    /// Returns a line, counted from the oldest. Adds its extras to `extras`.
    pub(crate) fn row(&self, line: usize, cols: usize, extras: &mut Extras) -> Option<Row> {
        let number = self.oldest + line;
        let index = self.segments.partition_point(|numbered| numbered.end() <= number);
        let numbered = self.segments.get(index)?;
        let at = number - numbered.start;
        let mut row = Row::from_cells(unpack(&numbered.segment, at, cols, extras), cols);
        // The line before the first one was dropped, so the first one continues nothing.
        row.wrapped = numbered.segment.is_wrapped(at) && line > 0;
        Some(row)
    }
}

/// Returns the last segment if it has room for another line and no clone shares it.
fn last_with_room<'a>(
    segments: &'a mut VecDeque<NumberedSegment>,
    max_bytes: usize,
    bytes: &mut usize,
) -> Option<&'a mut Segment> {
    let full = (max_bytes / SEGMENTS).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES);
    let last = Arc::get_mut(&mut segments.back_mut()?.segment)?;
    if last.bytes() < full {
        return Some(last);
    }

    // The segment is full and will not grow again.
    *bytes -= last.bytes();
    last.shrink();
    *bytes += last.bytes();
    None
}
