//! Pending connections: a bounded number of slots, with eviction of the oldest.
//!
//! A gateway has three sets: sockets that are not (yet) WebSockets; unauthenticated WebSockets; and
//! sockets that linger after their last message.

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::metrics::GatewayMetrics;

/// A set of pending connections.
///
/// When the set is full, a new connection evicts the one that has waited longest. Ordinary clients
/// stay only for milliseconds, so attackers are evicted first.
#[derive(Debug)]
pub(crate) struct PendingConnections {
    max: usize,
    /// Counts evictions as refusals. `None` if the connections have already been served.
    metrics: Option<Arc<GatewayMetrics>>,
    /// Held while one slot is added or removed, or while victims are chosen.
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    /// The number of the next connection. Numbers increase in order of arrival.
    next: u64,
    /// Connections from which the server expects something: a handshake, or the head of a request.
    idle: BTreeMap<u64, Arc<Eviction>>,
    /// Connections whose requests are being served.
    busy: BTreeMap<u64, Arc<Eviction>>,
}

/// An owner of pending connections, which it keeps in numbered slots.
pub(crate) trait SlotOwner: fmt::Debug + Send + Sync {
    /// Asks the owner to close the connection in `slot` if it is evicted. Must not block.
    fn evict(&self, slot: usize);
}

/// The eviction flag of one pending connection, and the means to notify its owner.
#[derive(Debug, Default)]
struct Eviction {
    is_evicted: AtomicBool,
    /// Notifies a task that serves HTTP.
    notify: Notify,
    /// The shard that owns the connection, and its slot there. Held for a copy or a change.
    owner: Mutex<Option<(Arc<dyn SlotOwner>, usize)>>,
}

/// The slot of one pending connection. Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct PendingSlot {
    pending: Arc<PendingConnections>,
    number: u64,
    eviction: Arc<Eviction>,
}

/// A guard that marks a slot as busy until it is dropped.
#[derive(Debug)]
pub(crate) struct BusyGuard(Arc<PendingSlot>);

impl PendingConnections {
    /// Creates an empty set. Evictions count as refusals in `metrics`, if present.
    pub(crate) fn new(max: NonZeroUsize, metrics: Option<Arc<GatewayMetrics>>) -> Self {
        Self { max: max.get(), metrics, slots: Mutex::default() }
    }

    /// Returns a slot for a new connection. Evicts the oldest if the set is full.
    pub(crate) fn acquire(self: &Arc<Self>) -> PendingSlot {
        let eviction = Arc::<Eviction>::default();

        // Removes and inserts under one lock, so that the bound holds under races.
        let mut slots = self.slots.lock();
        let excess = (slots.len() + 1).saturating_sub(self.max);
        let evicted = slots.remove_victims(self.max, excess);
        let number = slots.next;
        slots.next += 1;
        slots.idle.insert(number, Arc::clone(&eviction));
        drop(slots);

        // After the lock is released: an eviction takes the lock of a shard's inbox.
        self.evict_all(evicted);
        PendingSlot { pending: Arc::clone(self), number, eviction }
    }

    /// Evicts up to `count` connections, the oldest first. Returns the number of evictions.
    pub(crate) fn evict_oldest(&self, count: usize) -> usize {
        let victims = self.slots.lock().remove_victims(self.max, count);
        let evicted = victims.len();
        self.evict_all(victims);
        evicted
    }

    fn evict_all(&self, victims: Vec<Arc<Eviction>>) {
        for victim in victims {
            if let Some(metrics) = &self.metrics {
                metrics.refused("evicted");
            }
            victim.evict();
        }
    }
}

impl Eviction {
    fn evict(&self) {
        // Set before the notifications, because their receivers check this flag.
        self.is_evicted.store(true, Ordering::Release);
        self.notify.notify_one();
        let owner = self.owner.lock().clone();
        if let Some((owner, slot)) = owner {
            owner.evict(slot);
        }
    }
}

impl Slots {
    fn len(&self) -> usize {
        self.idle.len() + self.busy.len()
    }

    fn remove_victims(&mut self, max: usize, count: usize) -> Vec<Arc<Eviction>> {
        (0..count).map_while(|_| self.remove_victim(max)).collect()
    }

    /// Removes the oldest idle connection.
    ///
    /// While busy connections hold more than half of the slots, removes the oldest busy one
    /// instead: an attacker that sends the body of a request one byte at a time counts as busy.
    fn remove_victim(&mut self, max: usize) -> Option<Arc<Eviction>> {
        let (first, second) = if self.busy.len() > max / 2 {
            (&mut self.busy, &mut self.idle)
        } else {
            (&mut self.idle, &mut self.busy)
        };
        first.pop_first().or_else(|| second.pop_first()).map(|(_, victim)| victim)
    }
}

impl PendingSlot {
    /// Sets the owner to notify of an eviction, and its slot for the connection.
    ///
    /// Check [`is_evicted`](Self::is_evicted) afterwards: an earlier eviction found no owner.
    pub(crate) fn set_owner(&self, owner: Arc<dyn SlotOwner>, slot: usize) {
        *self.eviction.owner.lock() = Some((owner, slot));
    }

    /// Removes the owner.
    pub(crate) fn clear_owner(&self) {
        *self.eviction.owner.lock() = None;
    }

    /// Returns `true` if the connection is evicted.
    pub(crate) fn is_evicted(&self) -> bool {
        self.eviction.is_evicted.load(Ordering::Acquire)
    }

    /// Completes when the connection is evicted. Cancel safe.
    pub(crate) async fn evicted(&self) {
        self.eviction.notify.notified().await;
    }

    /// Marks the slot as busy while a request is being served.
    pub(crate) fn mark_busy(self: &Arc<Self>) -> BusyGuard {
        let mut slots = self.pending.slots.lock();
        if let Some(eviction) = slots.idle.remove(&self.number) {
            slots.busy.insert(self.number, eviction);
        }
        drop(slots);
        BusyGuard(Arc::clone(self))
    }

    /// Returns `true` if a request is being served.
    pub(crate) fn is_busy(&self) -> bool {
        self.pending.slots.lock().busy.contains_key(&self.number)
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        let Self(slot) = self;
        let mut slots = slot.pending.slots.lock();
        // An evicted slot is in neither map, and must not be put back into one.
        if let Some(eviction) = slots.busy.remove(&slot.number) {
            slots.idle.insert(slot.number, eviction);
        }
    }
}

impl Drop for PendingSlot {
    fn drop(&mut self) {
        let mut slots = self.pending.slots.lock();
        slots.idle.remove(&self.number);
        slots.busy.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use rejoin_core::Metrics;

    use super::*;

    fn pending(max: usize) -> Arc<PendingConnections> {
        let metrics = Metrics::default().group();
        Arc::new(PendingConnections::new(NonZeroUsize::new(max).unwrap(), Some(metrics)))
    }

    fn evicted(pending: &PendingConnections) -> u64 {
        pending.metrics.as_ref().unwrap().refused.get_or_create(&[("reason", "evicted")]).get()
    }

    fn is_evicted(slot: &PendingSlot) -> bool {
        slot.is_evicted() && slot.evicted().now_or_never().is_some()
    }

    #[test]
    fn a_connection_above_the_bound_evicts_the_oldest() {
        let pending = pending(2);
        let (first, second) = (pending.acquire(), pending.acquire());
        assert!(!is_evicted(&first));

        let third = pending.acquire();
        assert!(is_evicted(&first) && !is_evicted(&second) && !is_evicted(&third));
        assert_eq!(evicted(&pending), 1);
    }

    #[test]
    fn a_dropped_slot_frees_its_place() {
        let pending = pending(2);
        let first = pending.acquire();
        drop(pending.acquire());
        let _third = pending.acquire();

        assert!(!is_evicted(&first));
        assert_eq!(evicted(&pending), 0);
    }

    #[test]
    fn a_busy_slot_is_not_evicted() {
        let pending = pending(2);
        let (first, second) = (Arc::new(pending.acquire()), pending.acquire());
        let busy = first.mark_busy();
        let third = pending.acquire();

        assert!(!is_evicted(&first) && is_evicted(&second));

        drop(busy);
        let _fourth = pending.acquire();
        assert!(is_evicted(&first) && !is_evicted(&third));
    }

    #[test]
    fn the_oldest_busy_slot_is_evicted_above_half_the_bound() {
        let pending = pending(4);
        let served: Vec<_> = (0..3).map(|_| Arc::new(pending.acquire())).collect();
        let _served: Vec<_> = served.iter().map(PendingSlot::mark_busy).collect();

        let newcomer = pending.acquire();
        let _another = pending.acquire();
        assert!(is_evicted(&served[0]) && !is_evicted(&served[1]) && !is_evicted(&newcomer));
        assert_eq!(pending.slots.lock().len(), 4);
    }
}
