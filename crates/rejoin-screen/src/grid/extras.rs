//! What few cells have: hyperlinks, underline colours and combining characters, in one table.

use std::collections::HashMap;
use std::sync::Arc;

use super::cell::Cell;

/// Combining characters that one cell keeps; more are dropped, so that a
/// stream of nothing else cannot grow a cell without end.
const COMBINING_LIMIT: usize = 64;
/// Entries below which the table is not swept.
const SWEEP_FLOOR: usize = 256;

/// A hyperlink (OSC 8).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    /// Joins cells that are apart into one link, empty for none.
    pub(crate) id: String,
    pub(crate) uri: String,
}

/// One entry of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Extra {
    pub(crate) link: Option<Arc<Link>>,
    /// The colour of the underline, 0 for that of the text.
    pub(crate) underline: u32,
    /// Characters of no width on top of the cell's own.
    pub(crate) combining: String,
}

/// The entries that cells refer to by index; 0 is "nothing extra".
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    entries: Vec<Option<Arc<Extra>>>,
    index: HashMap<Arc<Extra>, u32>,
    free: Vec<u32>,
    /// In use after the last sweep; at twice as many comes the next.
    kept: usize,
}

impl Extras {
    pub(crate) fn get(&self, extra: u32) -> Option<&Extra> {
        let index = usize::try_from(extra).ok()?.checked_sub(1)?;
        self.entries.get(index)?.as_deref()
    }

    /// The index of an equal entry, which is made if there is none.
    pub(crate) fn intern(&mut self, extra: Extra) -> u32 {
        if extra == Extra::default() {
            return 0;
        }
        if let Some(&known) = self.index.get(&extra) {
            return known;
        }
        let extra = Arc::new(extra);
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
        });
        self.entries[id as usize - 1] = Some(Arc::clone(&extra));
        self.index.insert(extra, id);
        id
    }

    /// The cell with one more combining character.
    pub(crate) fn combine(&mut self, cell: Cell, c: char) -> Cell {
        let mut extra = self.get(cell.extra()).cloned().unwrap_or_default();
        if extra.combining.chars().count() < COMBINING_LIMIT {
            extra.combining.push(c);
        }
        cell.with_extra(self.intern(extra))
    }

    /// Equal but for combining characters.
    pub(crate) fn same_style(&self, one: u32, other: u32) -> bool {
        let [one, other] = [one, other].map(|extra| {
            self.get(extra).map_or((None, 0), |extra| (extra.link.as_ref(), extra.underline))
        });
        one == other
    }

    pub(crate) fn combining(&self, cell: Cell) -> &str {
        self.get(cell.extra()).map_or("", |extra| &extra.combining)
    }

    /// So many entries that those out of use should be swept.
    pub(crate) fn wants_sweep(&self) -> bool {
        self.index.len() > SWEEP_FLOOR.max(2 * self.kept)
    }

    /// Drops all entries but those in use.
    pub(crate) fn sweep(&mut self, in_use: impl Iterator<Item = u32>) {
        let mut used = vec![false; self.entries.len() + 1];
        in_use.for_each(|id| used[id as usize] = true);
        for (entry, id) in self.entries.iter_mut().zip(1..) {
            if used[id as usize] {
                continue;
            }
            if let Some(extra) = entry.take() {
                self.index.remove(&extra);
                self.free.push(id);
            }
        }
        self.kept = self.index.len();
    }
}
