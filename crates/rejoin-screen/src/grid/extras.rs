//! The table of rare cell data: hyperlinks, underline colours and combining characters.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem;
use std::ops::Deref;
use std::sync::Arc;

use super::cell::Cell;

/// The maximum number of combining characters per cell. More are dropped.
///
/// Without it, a stream of combining characters would grow a cell without bound.
const COMBINING_LIMIT: usize = 8;
/// The maximum number of entries in the table. Further cells are drawn without extras.
const MAX_ENTRIES: usize = 32 * 1024;
/// The maximum size of a screen's distinct hyperlinks, in bytes. Further text has no link.
const MAX_LINK_BYTES: usize = 4 * 1024 * 1024;
/// The number of entries up to which the table is never swept.
const SWEEP_FLOOR: usize = 256;
/// The total size of hyperlinks up to which they are never swept, in bytes.
const SWEEP_FLOOR_BYTES: usize = 256 * 1024;
/// The maximum size of hyperlinks, new or refused, between two sweeps of them, in bytes.
///
/// A sweep visits at most 32 Ki links, so its cost is small when spread over those links.
const SWEEP_BYTES: usize = MAX_LINK_BYTES / 4;
/// The approximate memory of a table entry without its text, in bytes.
const ENTRY_BYTES: usize = 128;

/// A hyperlink (OSC 8).
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    /// The id that joins separate cells into one link. Empty if there is none.
    pub(crate) id: String,
    pub(crate) uri: String,
}

impl Link {
    /// Returns the memory of the link, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.id.len() + self.uri.len() + ENTRY_BYTES
    }
}

/// A shared hyperlink of one screen. Equal links of a screen share one object.
#[derive(Clone)]
pub(crate) struct LinkRef(Arc<Link>);

impl fmt::Debug for LinkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl LinkRef {
    /// Returns a number that is unique among the links of a screen.
    pub(crate) fn number(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

impl Deref for LinkRef {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.0
    }
}

// `Extras::link` returns one object for equal links, so comparing and hashing the pointer suffices,
// however long the URI is.
impl PartialEq for LinkRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for LinkRef {}

impl Hash for LinkRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number().hash(state);
    }
}

/// One entry of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Extra {
    pub(crate) link: Option<LinkRef>,
    /// The underline colour. 0 stands for the text colour.
    pub(crate) underline: u32,
    /// The combining characters after the cell's own character.
    pub(crate) combining: String,
}

/// The table of extras. Cells refer to an entry by its index. Index 0 means no extra.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    entries: Vec<Option<Arc<Extra>>>,
    index: HashMap<Arc<Extra>, u32>,
    free: Vec<u32>,
    /// The number of entries after the last sweep. Twice as many trigger the next sweep.
    kept: usize,
    /// The number of entries that a full table has refused since the last sweep.
    refused: usize,
    links: HashMap<Arc<Link>, ()>,
    link_bytes: usize,
    /// The size of the links after their last sweep, in bytes.
    kept_link_bytes: usize,
    /// The size of the links that were refused since then, in bytes.
    refused_link_bytes: usize,
    /// Some refused links may fit once unused entries, which hold links, are swept.
    wants_link_sweep: bool,
}

impl Extras {
    /// Returns the entry with this index.
    pub(crate) fn get(&self, extra: u32) -> Option<&Extra> {
        let index = usize::try_from(extra).ok()?.checked_sub(1)?;
        self.entries.get(index)?.as_deref()
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Returns the index of an entry. Adds the entry if it is new.
    ///
    /// Returns 0 if the table is full.
    pub(crate) fn intern(&mut self, extra: Extra) -> u32 {
        if extra == Extra::default() {
            return 0;
        }

        if let Some(&known) = self.index.get(&extra) {
            return known;
        }

        // The text is readable without its extra. An error or unbounded memory would be worse.
        if self.index.len() >= MAX_ENTRIES {
            self.refused += 1;
            return 0;
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

    /// Returns the shared object of a link, or `None` if the screen's links take too much memory.
    pub(crate) fn link(&mut self, link: Link) -> Option<LinkRef> {
        if let Some((known, ())) = self.links.get_key_value(&link) {
            return Some(LinkRef(Arc::clone(known)));
        }

        // Sweeps at twice the size that was in use, so a sweep costs little per link. Counts
        // refused links as well: all links may have become unused since the last sweep.
        let added = self.link_bytes - self.kept_link_bytes + self.refused_link_bytes;
        let is_due = added > SWEEP_FLOOR_BYTES.max(self.kept_link_bytes).min(SWEEP_BYTES);
        if is_due {
            self.sweep_links();
        }

        if self.link_bytes + link.bytes() > MAX_LINK_BYTES {
            self.refused_link_bytes += link.bytes();
            self.wants_link_sweep |= is_due;
            return None;
        }

        self.link_bytes += link.bytes();
        let link = Arc::new(link);
        self.links.insert(Arc::clone(&link), ());

        Some(LinkRef(link))
    }

    /// Returns the cell with one more combining character.
    pub(crate) fn combine(&mut self, cell: Cell, c: char) -> Cell {
        let mut extra = self.get(cell.extra()).cloned().unwrap_or_default();
        if extra.combining.chars().count() >= COMBINING_LIMIT {
            return cell;
        }

        extra.combining.push(c);
        match self.intern(extra) {
            0 => cell,
            extra => cell.with_extra(extra),
        }
    }

    /// Returns `true` if two extras differ in combining characters at most.
    pub(crate) fn same_style(&self, one: u32, other: u32) -> bool {
        let [one, other] = [one, other].map(|extra| {
            self.get(extra).map_or((None, 0), |extra| (extra.link.as_ref(), extra.underline))
        });
        one == other
    }

    /// Returns the combining characters of a cell.
    pub(crate) fn combining(&self, cell: Cell) -> &str {
        self.get(cell.extra()).map_or("", |extra| &extra.combining)
    }

    /// Returns `true` if the table is so large that unused entries should be swept.
    ///
    /// `rows` is the height of the screen: a sweep visits all cells, so it must stay rare.
    pub(crate) fn wants_sweep(&self, rows: usize) -> bool {
        let floor = SWEEP_FLOOR.max(8 * rows);
        let is_full = self.index.len() >= MAX_ENTRIES;

        // If the table is full of entries in use, the refused entries pay for each sweep.
        self.index.len() > floor.max(2 * self.kept)
            || (is_full && self.refused > floor)
            || self.wants_link_sweep
    }

    /// Drops all entries except those in use.
    pub(crate) fn sweep(&mut self, in_use: impl Iterator<Item = u32>) {
        let mut used = vec![false; self.entries.len() + 1];
        in_use.for_each(|id| used[id as usize] = true);

        for (entry, id) in self.entries.iter_mut().zip(1..) {
            if used[id as usize] {
                continue;
            }

            // The index can be reused, because no cell refers to it any more.
            if let Some(extra) = entry.take() {
                self.index.remove(&extra);
                self.free.push(id);
            }
        }

        self.kept = self.index.len();
        self.refused = 0;
        if mem::take(&mut self.wants_link_sweep) {
            self.sweep_links();
        }
    }

    /// Drops all links except those that an entry, the pen or the history uses.
    fn sweep_links(&mut self) {
        // The map itself holds one reference.
        self.links.retain(|link, ()| Arc::strong_count(link) > 1);
        self.link_bytes = self.links.keys().map(|link| link.bytes()).sum();
        self.kept_link_bytes = self.link_bytes;
        self.refused_link_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_is_swept_only_after_many_refusals() {
        let underlined = |underline| Extra { underline, ..Extra::default() };
        let mut extras = Extras::default();
        let full = u32::try_from(MAX_ENTRIES).unwrap();
        (1..=full).for_each(|colour| assert!(extras.intern(underlined(colour)) > 0));

        // All entries stay in use.
        extras.sweep(1..=full);
        assert!(!extras.wants_sweep(24));

        let refused = u32::try_from(SWEEP_FLOOR).unwrap();
        for colour in full + 1..=full + refused {
            assert_eq!(extras.intern(underlined(colour)), 0);
            assert!(!extras.wants_sweep(24));
        }
        extras.intern(underlined(0x00ff_ffff));
        assert!(extras.wants_sweep(24));
    }
}
