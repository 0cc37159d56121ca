//! The lines that scrolled out at the top, packed to little more than their text.

use std::collections::VecDeque;
use std::sync::Arc;

use super::extras::Extras;
use super::row::Row;
use packed::{Packer, Segment, unpack};

mod packed;

/// What all histories keep at least in one piece, in bytes.
const MIN_SEGMENT_BYTES: usize = 1024;
const MAX_SEGMENT_BYTES: usize = 64 * 1024;
/// Pieces of a history that is full: the oldest is dropped whole.
const SEGMENTS: usize = 64;

/// The bounds of a screen's history; the oldest lines beyond either bound are dropped.
///
/// The default keeps no history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrollbackLimits {
    /// The maximum number of lines.
    pub lines: usize,
    /// The maximum memory of the packed lines and their hyperlinks, in bytes.
    pub bytes: usize,
}

/// Rows above the screen, the newest ones within the limits.
///
/// Packing keeps ten thousand lines in one megabyte instead of twenty, and makes
/// the lines independent of the table of extras, which serves the screen only.
/// Copies share the segments.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Oldest first; none is empty.
    pieces: VecDeque<Piece>,
    /// The numbers of the oldest line and of the next one; they only ever grow.
    oldest: usize,
    next: usize,
    bytes: usize,
    limits: ScrollbackLimits,
    packer: Packer,
}

/// A segment and the number of its first line.
#[derive(Clone, Debug)]
struct Piece {
    start: usize,
    segment: Arc<Segment>,
}

impl Piece {
    fn end(&self) -> usize {
        self.start + self.segment.len()
    }
}

impl History {
    pub(crate) fn new(limits: ScrollbackLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.next - self.oldest
    }

    /// Memory of the packed lines, with the hyperlinks in them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.limits.lines
    }

    pub(crate) fn limits(&self) -> ScrollbackLimits {
        self.limits
    }

    /// Changes the limits and drops what exceeds them.
    pub(crate) fn set_limits(&mut self, limits: ScrollbackLimits) {
        self.limits = limits;
        self.trim();
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limits);
    }

    pub(crate) fn push(&mut self, row: &Row, extras: &Extras) {
        if self.limits.lines == 0 {
            return;
        }
        let segment = last_with_room(&mut self.pieces, self.limits.bytes, &mut self.bytes);
        if let Some(segment) = segment {
            self.bytes -= segment.bytes();
            self.packer.pack(row, extras, segment);
            self.bytes += segment.bytes();
        } else {
            let mut segment = Segment::default();
            self.packer.pack(row, extras, &mut segment);
            self.bytes += segment.bytes();
            self.pieces.push_back(Piece { start: self.next, segment: Arc::new(segment) });
        }
        self.next += 1;
        self.trim();
    }

    fn trim(&mut self) {
        while self.len() > self.limits.lines {
            self.drop_oldest();
        }
        while self.bytes > self.limits.bytes && !self.pieces.is_empty() {
            self.drop_piece();
        }
    }

    fn drop_oldest(&mut self) {
        self.oldest += 1;
        if self.pieces.front().is_some_and(|first| first.end() <= self.oldest) {
            self.drop_piece();
        }
    }

    fn drop_piece(&mut self) {
        if let Some(first) = self.pieces.pop_front() {
            self.oldest = self.oldest.max(first.end());
            self.bytes -= first.segment.bytes();
        }
    }

    /// Takes the newest line back.
    pub(crate) fn pop(&mut self, cols: usize, extras: &mut Extras) -> Option<Row> {
        let row = self.row(self.len().checked_sub(1)?, cols, extras);
        self.drop_newest();
        row
    }

    /// Drops the newest line, of which there must be one.
    pub(crate) fn drop_newest(&mut self) {
        let Some(last) = self.pieces.back_mut() else { return };
        self.bytes -= last.segment.bytes();
        let segment = Arc::make_mut(&mut last.segment);
        segment.pop();
        self.next -= 1;
        if segment.is_empty() || self.next == self.oldest {
            self.pieces.pop_back();
            self.packer.forget_links();
        } else {
            self.bytes += segment.bytes();
        }
    }

    /// Takes the oldest line out.
    pub(crate) fn pop_oldest(&mut self, cols: usize, extras: &mut Extras) -> Option<Row> {
        let row = self.row(0, cols, extras)?;
        self.drop_oldest();
        Some(row)
    }

    /// Whether each line continues the one before it, oldest first.
    pub(crate) fn wrapped(&self) -> impl Iterator<Item = bool> {
        let lines = |piece: &Piece| self.oldest.saturating_sub(piece.start)..piece.segment.len();
        let all = self
            .pieces
            .iter()
            .flat_map(move |piece| lines(piece).map(|line| piece.segment.is_wrapped(line)));
        // The first line continues nothing that could be shown.
        all.enumerate().map(|(line, wrapped)| wrapped && line > 0)
    }

    /// The newest `count` lines, oldest first; extras go into the table given.
    pub(crate) fn newest(&self, count: usize, cols: usize, extras: &mut Extras) -> Vec<Row> {
        let lines = self.len().saturating_sub(count)..self.len();
        lines.filter_map(|line| self.row(line, cols, extras)).collect()
    }

    /// One line, counted from the oldest; extras go into the table given.
    pub(crate) fn row(&self, line: usize, cols: usize, extras: &mut Extras) -> Option<Row> {
        let number = self.oldest + line;
        let index = self.pieces.partition_point(|piece| piece.end() <= number);
        let piece = self.pieces.get(index)?;
        let at = number - piece.start;
        let mut row = Row::from_cells(unpack(&piece.segment, at, cols, extras), cols);
        // The first line continues nothing that could be shown.
        row.wrapped = piece.segment.is_wrapped(at) && line > 0;
        Some(row)
    }
}

/// The last segment if nobody shares it and it has room for another line.
fn last_with_room<'a>(
    pieces: &'a mut VecDeque<Piece>,
    max_bytes: usize,
    bytes: &mut usize,
) -> Option<&'a mut Segment> {
    let full = (max_bytes / SEGMENTS).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES);
    let last = Arc::get_mut(&mut pieces.back_mut()?.segment)?;
    if last.bytes() < full {
        return Some(last);
    }
    *bytes -= last.bytes();
    last.shrink();
    *bytes += last.bytes();
    None
}
