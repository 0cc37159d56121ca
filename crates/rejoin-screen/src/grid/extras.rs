//! What few cells have: hyperlinks, underline colours and combining characters, in one table.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use super::cell::Cell;

/// Combining characters that one cell keeps; more are dropped, so that a
/// stream of nothing else cannot grow a cell without end.
const COMBINING_LIMIT: usize = 8;
/// Entries of the table. Cells beyond it are drawn without extras.
const MAX_ENTRIES: usize = 32 * 1024;
/// Bytes of all distinct hyperlinks of one screen. Text beyond it is drawn without a link.
const MAX_LINK_BYTES: usize = 4 * 1024 * 1024;
/// Entries below which the table is not swept.
const SWEEP_FLOOR: usize = 256;
/// Bytes of hyperlinks below which they are not swept.
const SWEEP_FLOOR_BYTES: usize = 256 * 1024;
/// Rough memory of one entry of a table besides its text.
const ENTRY_BYTES: usize = 128;

/// A hyperlink (OSC 8).
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    /// Joins cells that are apart into one link, empty for none.
    pub(crate) id: String,
    pub(crate) uri: String,
}

impl Link {
    /// Memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.id.len() + self.uri.len() + ENTRY_BYTES
    }
}

/// A hyperlink of one screen, of which equal ones are the same object.
#[derive(Clone)]
pub(crate) struct LinkRef(Arc<Link>);

impl fmt::Debug for LinkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl LinkRef {
    /// Differs between the links of one screen.
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
    links: HashMap<Arc<Link>, ()>,
    link_bytes: usize,
    /// Bytes of links in use after their last sweep.
    kept_link_bytes: usize,
}

impl Extras {
    pub(crate) fn get(&self, extra: u32) -> Option<&Extra> {
        let index = usize::try_from(extra).ok()?.checked_sub(1)?;
        self.entries.get(index)?.as_deref()
    }

    /// Entries in the table.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The index of an equal entry, which is made if there is none and there is room for it.
    pub(crate) fn intern(&mut self, extra: Extra) -> u32 {
        if extra == Extra::default() {
            return 0;
        }
        if let Some(&known) = self.index.get(&extra) {
            return known;
        }
        if self.index.len() >= MAX_ENTRIES {
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

    /// The link as this screen's cells refer to it; `None` if there is no room for it.
    pub(crate) fn link(&mut self, link: Link) -> Option<LinkRef> {
        if let Some((known, ())) = self.links.get_key_value(&link) {
            return Some(LinkRef(Arc::clone(known)));
        }
        if self.link_bytes > SWEEP_FLOOR_BYTES.max(2 * self.kept_link_bytes).min(MAX_LINK_BYTES) {
            self.sweep_links();
        }
        if self.link_bytes + link.bytes() > MAX_LINK_BYTES {
            return None;
        }
        self.link_bytes += link.bytes();
        let link = Arc::new(link);
        self.links.insert(Arc::clone(&link), ());
        Some(LinkRef(link))
    }

    /// The cell with one more combining character.
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

    /// So many entries that those out of use should be swept, on a screen of so many rows.
    pub(crate) fn wants_sweep(&self, rows: usize) -> bool {
        self.index.len() > SWEEP_FLOOR.max(8 * rows).max(2 * self.kept).min(MAX_ENTRIES - 1)
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

    /// Drops all links but those that cells, the pen or the history refer to.
    fn sweep_links(&mut self) {
        self.links.retain(|link, ()| Arc::strong_count(link) > 1);
        self.link_bytes = self.links.keys().map(|link| link.bytes()).sum();
        self.kept_link_bytes = self.link_bytes;
    }
}
