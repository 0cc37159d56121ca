//! The drain: closes all connections, and assigns each client a time to reconnect.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rejoin_core::CloseNotice;
use rejoin_protocol::CloseCode;

use crate::shard::{Shard, connection::Phase};

/// The number of slots that a shard drains per pass.
const SLOTS_PER_PASS: usize = 100;
/// The maximum time between two reconnects. A server easily handles a hundred per second, and the
/// clients of a small server should not have to wait for the whole window.
const STEP: Duration = Duration::from_millis(10);

/// The state with which all shards spread the reconnects of their clients over one window.
#[derive(Debug)]
pub(super) struct Drain {
    window: Duration,
    /// The number of open connections.
    open: AtomicUsize,
    /// The number of open connections at the time of the first close.
    total: OnceLock<usize>,
    /// The rank of the next connection to close. Ranks are unique across shards.
    next: AtomicUsize,
}

impl Drain {
    pub(super) fn new(window: Duration) -> Self {
        let (open, next) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { window, open, total: OnceLock::new(), next }
    }

    /// Counts an open connection.
    pub(super) fn connection_opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the close of a connection.
    pub(super) fn connection_closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the number of open connections.
    #[cfg(test)]
    pub(super) fn open_count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns the close notice for the next connection.
    pub(super) fn next_notice(&self) -> CloseNotice {
        let total = *self.total.get_or_init(|| self.open.load(Ordering::Relaxed).max(1));
        notice(self.window, total, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// Returns the close notice for the connection with this rank.
///
/// Each client reconnects at a random time within its own step of the window. Connections that
/// opened after `total` was counted wrap around to the first steps.
fn notice(window: Duration, total: usize, rank: usize) -> CloseNotice {
    let total = u32::try_from(total).unwrap_or(u32::MAX);
    let rank = u32::try_from(rank).unwrap_or(u32::MAX) % total;
    let step = (window / total).min(STEP);
    CloseNotice { code: CloseCode::Draining, reconnect_after: step * rank, window: step }
}

impl Shard {
    /// Starts the drain. `drain_next` closes the connections.
    pub(super) fn drain(&mut self) {
        // Closes the listener, so that the system refuses new clients.
        self.acceptor = None;
        self.draining.get_or_insert(0);
    }

    /// Returns `true` if the drain has slots left to visit.
    pub(super) fn has_undrained(&self) -> bool {
        self.draining.is_some_and(|next| next < self.connections.capacity())
    }

    /// Closes the connections in the next slots, if the drain has started.
    ///
    /// Handles only a few slots per pass, so that the first connections receive their notices
    /// before the last connections are closed.
    pub(super) fn drain_next(&mut self) {
        let Some(begin) = self.draining else { return };

        // Goes up to the capacity, not the length: there are free slots between connections.
        let end = (begin + SLOTS_PER_PASS).min(self.connections.capacity());
        for slot in begin..end {
            match self.connections.get(slot).map(|connection| &connection.phase) {
                Some(Phase::Open(_)) => {
                    let notice = self.context.drain.next_notice();
                    self.close(slot, notice);
                }
                // The drain does not wait for a request that has not arrived.
                Some(Phase::Opening(_)) => self.remove(slot),
                Some(Phase::Closing(_) | Phase::Lingering(_)) => self.shorten_deadline(slot),
                None => {}
            }
        }

        self.draining = Some(end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reconnects_are_spread_evenly_and_no_slower_than_necessary(
            window_ms in 1u64..100_000,
            total in 1usize..200_000,
            at in any::<prop::sample::Index>(),
        ) {
            let window = Duration::from_millis(window_ms);
            let rank = at.index(total);
            let this = notice(window, total, rank);
            let next = notice(window, total, rank + 1);

            prop_assert!(this.reconnect_after + this.window <= window);
            prop_assert!(this.window <= STEP);

            if rank + 1 < total {
                // The random part fills exactly the time until the next client.
                prop_assert_eq!(this.reconnect_after + this.window, next.reconnect_after);
            } else {
                prop_assert_eq!(next.reconnect_after, Duration::ZERO);

                // The whole window is used, unless the step is at its maximum.
                let used = this.reconnect_after + this.window;
                let rounding = Duration::from_nanos(1) * u32::try_from(total).unwrap();
                prop_assert!(used + rounding >= window.min(STEP * u32::try_from(total).unwrap()));
            }
        }
    }
}
