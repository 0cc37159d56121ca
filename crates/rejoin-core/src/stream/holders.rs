//! The connections that hold a snapshot.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::outbox::Outbox;

/// Connections that were given the same snapshot.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    /// Held for a push or a look.
    outboxes: Arc<Mutex<Vec<Weak<Outbox>>>>,
}

impl Holders {
    /// Notes that a connection is given the snapshot.
    pub fn add(&self, outbox: &Arc<Outbox>) {
        let mut outboxes = self.outboxes.lock();
        outboxes.retain(|outbox| outbox.strong_count() > 0);
        outboxes.push(Arc::downgrade(outbox));
    }

    /// Closes those whose sockets take nothing, so that the snapshot is freed.
    pub(crate) fn evict_if_stalled(&self) {
        let outboxes = std::mem::take(&mut *self.outboxes.lock());
        outboxes.iter().filter_map(Weak::upgrade).for_each(|outbox| outbox.evict_if_stalled());
    }
}
