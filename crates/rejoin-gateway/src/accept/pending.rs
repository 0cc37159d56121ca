//! Connections that are not WebSockets, or not yet: their number is bounded.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use rejoin_core::Metrics;
use tokio::sync::Notify;

use crate::shard::ShardHandle;

/// All pending connections. When one more comes than may be there, the one that has waited for
/// longest is evicted: an ordinary client needs milliseconds.
#[derive(Debug)]
pub(crate) struct PendingConnections {
    max: usize,
    metrics: Arc<Metrics>,
    /// Held for a look at its ends, or to add or remove a connection.
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    /// In the order of their arrival.
    next: u64,
    /// Those that the server waits for: for a handshake, a request's head, another request.
    idle: BTreeMap<u64, Arc<Eviction>>,
    /// Those whose requests are being served.
    busy: BTreeMap<u64, Arc<Eviction>>,
}

/// The way in which the owner of a pending connection learns that it is evicted.
#[derive(Debug, Default)]
struct Eviction {
    is_evicted: AtomicBool,
    /// For a task that serves HTTP.
    notify: Notify,
    /// For a shard that reads the request's head. Held for a copy or a change.
    shard: Mutex<Option<(ShardHandle, usize)>>,
}

/// The slot of one pending connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct PendingSlot {
    pending: Arc<PendingConnections>,
    number: u64,
    eviction: Arc<Eviction>,
}

/// A request that is being served, until it is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<PendingSlot>);

impl PendingConnections {
    pub(crate) fn new(max: NonZeroUsize, metrics: Arc<Metrics>) -> Self {
        Self { max: max.get(), metrics, slots: Mutex::default() }
    }

    /// Returns a slot for one more, after making room.
    pub(crate) fn enter(self: &Arc<Self>) -> PendingSlot {
        let eviction = Arc::<Eviction>::default();
        let mut slots = self.slots.lock();
        let excess = (slots.len() + 1).saturating_sub(self.max);
        let evicted = slots.remove_victims(self.max, excess);
        let number = slots.next;
        slots.next += 1;
        slots.idle.insert(number, Arc::clone(&eviction));
        drop(slots);

        self.evict_all(evicted);
        PendingSlot { pending: Arc::clone(self), number, eviction }
    }

    /// Evicts so many, as far as there are any: the process has no descriptors left.
    /// Returns how many it were.
    pub(crate) fn make_room(&self, count: usize) -> usize {
        let victims = self.slots.lock().remove_victims(self.max, count);
        let evicted = victims.len();
        self.evict_all(victims);
        evicted
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.lock().len()
    }

    fn evict_all(&self, victims: Vec<Arc<Eviction>>) {
        for victim in victims {
            self.metrics.refused("evicted");
            victim.evict();
        }
    }
}

impl Eviction {
    fn evict(&self) {
        self.is_evicted.store(true, Ordering::Release);
        self.notify.notify_one();
        let shard = self.shard.lock().clone();
        if let Some((shard, slot)) = shard {
            shard.evict(slot);
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

    /// The oldest of the idle ones. A client that trickles a request's body is busy too: so long
    /// as busy ones hold more than half of the slots, the oldest of them is evicted.
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
    /// Has a shard close the connection in its slot `slot` when this one is evicted.
    pub(crate) fn notify_shard(&self, shard: &ShardHandle, slot: usize) {
        *self.eviction.shard.lock() = Some((shard.clone(), slot));
    }

    /// Ends [`notify_shard`](Self::notify_shard).
    pub(crate) fn leave_shard(&self) {
        *self.eviction.shard.lock() = None;
    }

    /// Whether it is evicted.
    pub(crate) fn is_evicted(&self) -> bool {
        self.eviction.is_evicted.load(Ordering::Acquire)
    }

    /// Completes when it is evicted. Cancel safe: yes.
    pub(crate) async fn evicted(&self) {
        self.eviction.notify.notified().await;
    }

    /// Notes that a request is being served.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        let mut slots = self.pending.slots.lock();
        if let Some(eviction) = slots.idle.remove(&self.number) {
            slots.busy.insert(self.number, eviction);
        }
        drop(slots);
        Busy(Arc::clone(self))
    }

    /// Whether a request is being served.
    pub(crate) fn is_busy(&self) -> bool {
        self.pending.slots.lock().busy.contains_key(&self.number)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Self(slot) = self;
        let mut slots = slot.pending.slots.lock();
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

    use super::*;

    fn pending(max: usize) -> Arc<PendingConnections> {
        Arc::new(PendingConnections::new(NonZeroUsize::new(max).unwrap(), Arc::default()))
    }

    fn evicted(pending: &PendingConnections) -> u64 {
        pending.metrics.refused.get_or_create(&[("reason", "evicted")]).get()
    }

    fn is_evicted(slot: &PendingSlot) -> bool {
        slot.is_evicted() && slot.evicted().now_or_never().is_some()
    }

    #[test]
    fn one_too_many_evicts_the_oldest() {
        let pending = pending(2);
        let (first, second) = (pending.enter(), pending.enter());
        assert!(!is_evicted(&first));
        let third = pending.enter();
        assert!(is_evicted(&first) && !is_evicted(&second) && !is_evicted(&third));
        assert_eq!(evicted(&pending), 1);
    }

    #[test]
    fn a_dropped_slot_makes_room() {
        let pending = pending(2);
        let first = pending.enter();
        drop(pending.enter());
        let _third = pending.enter();
        assert!(!is_evicted(&first));
        assert_eq!(evicted(&pending), 0);
    }

    #[test]
    fn a_request_that_is_served_is_not_evicted() {
        let pending = pending(2);
        let (first, second) = (Arc::new(pending.enter()), pending.enter());
        let busy = first.busy();
        let third = pending.enter();
        assert!(!is_evicted(&first) && is_evicted(&second));
        drop(busy);
        let _fourth = pending.enter();
        assert!(is_evicted(&first) && !is_evicted(&third));
    }

    #[test]
    fn requests_that_never_end_are_evicted_in_the_end() {
        let pending = pending(4);
        let served: Vec<_> = (0..3).map(|_| Arc::new(pending.enter())).collect();
        let _served: Vec<_> = served.iter().map(PendingSlot::busy).collect();
        let newcomer = pending.enter();
        let _another = pending.enter();
        assert!(is_evicted(&served[0]) && !is_evicted(&served[1]) && !is_evicted(&newcomer));
        assert_eq!(pending.slots.lock().len(), 4);
    }
}
