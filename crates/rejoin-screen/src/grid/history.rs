//! The lines that scrolled out at the top, packed to little more than their text.

use std::collections::VecDeque;

use super::extras::Extras;
use super::row::Row;
use packed::{Packer, unpack};

mod packed;

const WRAPPED: u32 = 1 << 31;

/// Rows above the screen, the newest `limit` of them.
///
/// Packing keeps ten thousand lines in one megabyte instead of twenty, and makes
/// the lines independent of the table of extras, which serves the screen only.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    bytes: VecDeque<u8>,
    /// Packed length of each line, oldest first; the top bit says "wrapped".
    lines: VecDeque<u32>,
    limit: usize,
    packer: Packer,
}

impl History {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lines.len() >= self.limit
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    pub(crate) fn push(&mut self, row: &Row, extras: &Extras) {
        if self.limit == 0 {
            return;
        }
        if self.is_full() {
            self.drop_oldest();
        }
        let packed = self.packer.pack(row, extras);
        self.bytes.extend(packed);
        let len = u32::try_from(packed.len()).unwrap_or(0);
        // The first line continues nothing that could be shown.
        let wrapped = row.wrapped && !self.lines.is_empty();
        self.lines.push_back(len | if wrapped { WRAPPED } else { 0 });
    }

    fn drop_oldest(&mut self) {
        if let Some(line) = self.lines.pop_front() {
            self.bytes.drain(..length(line));
        }
        // A line whose beginning is gone begins where it goes on.
        if let Some(first) = self.lines.front_mut() {
            *first &= !WRAPPED;
        }
    }

    /// Takes the newest line back.
    pub(crate) fn pop(&mut self, cols: usize, extras: &mut Extras) -> Option<Row> {
        let row = self.newest(1, cols, extras).pop();
        if let Some(line) = self.lines.pop_back() {
            self.bytes.truncate(self.bytes.len() - length(line));
        }
        row
    }

    /// The newest `count` lines, oldest first; extras go into the table given.
    pub(crate) fn newest(&self, count: usize, cols: usize, extras: &mut Extras) -> Vec<Row> {
        let lines = self.lines.range(self.lines.len().saturating_sub(count)..);
        let len: usize = lines.clone().map(|&line| length(line)).sum();
        let packed = self.last_bytes(len);
        let mut rest = &packed[..];
        lines
            .map(|&line| {
                let (packed, more) = rest.split_at(length(line));
                rest = more;
                let mut row = Row::from_cells(unpack(packed, cols, extras));
                row.wrapped = line & WRAPPED != 0;
                row
            })
            .collect()
    }

    fn last_bytes(&self, len: usize) -> Vec<u8> {
        let (older, newer) = self.bytes.as_slices();
        let from_older = len.saturating_sub(newer.len());
        let from_newer = len - from_older;
        [&older[older.len() - from_older..], &newer[newer.len() - from_newer..]].concat()
    }
}

fn length(line: u32) -> usize {
    (line & !WRAPPED) as usize
}
