//! The connections that hold a snapshot.

use std::sync::{Arc, Weak};

use crate::lock::{Mutex, level::LEAF};

/// A holder of a snapshot's memory.
pub trait SnapshotHolder: Send + Sync {
    /// Closes the holder's connection unless its socket accepts bytes now.
    fn evict_if_stalled(&self);
}

/// The connections that received the same snapshot.
#[derive(Clone, Default)]
pub struct Holders {
    holders: Arc<Mutex<Vec<Weak<dyn SnapshotHolder>>, LEAF>>,
}

impl Holders {
    /// Records that `holder` receives the snapshot.
    pub fn add<H: SnapshotHolder + 'static>(&self, holder: &Arc<H>) {
        let holder = Arc::downgrade(holder);
        let mut holders = self.holders.lock();
        // Closed connections leave the list here.
        holders.retain(|holder| holder.strong_count() > 0);
        holders.push(holder);
    }

    /// Closes the connections whose sockets accept nothing, so that the snapshot is freed.
    pub(crate) fn evict_stalled(&self) {
        // Taken out first: eviction takes the lock of an outbox.
        let holders = std::mem::take(&mut *self.holders.lock());
        holders.iter().filter_map(Weak::upgrade).for_each(|holder| holder.evict_if_stalled());
    }
}

impl std::fmt::Debug for Holders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holders").finish_non_exhaustive()
    }
}
