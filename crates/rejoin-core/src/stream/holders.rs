//! The connections that hold a snapshot.

use std::{
    mem,
    sync::{Arc, Weak},
};

use crate::{
    frame::Frame,
    lock::{Mutex, level::LEAF},
};

/// A connection that received a snapshot, and may still have its memory.
pub trait SnapshotHolder: Send + Sync {
    /// Closes the connection if it has not sent all of the snapshot, whose frames these are.
    fn evict_if_holding(&self, snapshot: &[Frame]);
}

/// The connections that received the same snapshot.
#[derive(Clone, Default)]
pub struct Holders {
    state: Arc<Mutex<State, LEAF>>,
}

#[derive(Default)]
struct State {
    holders: Vec<Weak<dyn SnapshotHolder>>,
    /// The frames of the snapshot, once it is evicted.
    evicted: Option<Vec<Frame>>,
}

impl Holders {
    /// Records that `holder` has received the snapshot.
    ///
    /// Called after the snapshot is queued: an eviction looks for it there.
    pub fn add<H: SnapshotHolder + 'static>(&self, holder: &Arc<H>) {
        let mut state = self.state.lock();
        let Some(evicted) = state.evicted.clone() else {
            let holder = Arc::downgrade(holder);
            // Closed connections leave the list here.
            state.holders.retain(|holder| holder.strong_count() > 0);
            return state.holders.push(holder);
        };

        // Newer snapshots have replaced this one while it was on its way.
        drop(state);
        holder.evict_if_holding(&evicted);
    }

    /// Closes the connections that have not sent all of `snapshot`, so that it is freed.
    pub(crate) fn evict(&self, snapshot: &[Frame]) {
        let mut state = self.state.lock();
        state.evicted = Some(snapshot.to_vec());
        let holders = mem::take(&mut state.holders);

        // After the lock: an eviction takes the lock of an outbox.
        drop(state);
        let holders = holders.iter().filter_map(Weak::upgrade);
        holders.for_each(|holder| holder.evict_if_holding(snapshot));
    }
}

impl std::fmt::Debug for Holders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holders").finish_non_exhaustive()
    }
}
