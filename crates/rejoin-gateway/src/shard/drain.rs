//! The drain: all connections are closed, and each client gets its time to reconnect.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rejoin_core::CloseNotice;
use rejoin_protocol::CloseCode;

use crate::shard::{connection::Phase, run::Shard};

/// Connections of a shard that are closed in one pass.
const TURN_SOCKETS: usize = 100;
/// The time between two that come back, where the window is not too short for that: a hundred
/// a second are nothing to a server, and the few of a small one come back at once.
const STEP: Duration = Duration::from_millis(10);

/// What the shards of a gateway share to spread the return of all their clients.
#[derive(Debug)]
pub(super) struct Drain {
    window: Duration,
    /// Connections that there are.
    open: AtomicUsize,
    /// How many there were when the first was closed.
    total: OnceLock<usize>,
    /// Whose turn it is to come back.
    next: AtomicUsize,
}

impl Drain {
    pub(super) fn new(window: Duration) -> Self {
        let (open, next) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { window, open, total: OnceLock::new(), next }
    }

    pub(super) fn arrive(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections that are open.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The goodbye for the next connection.
    pub(super) fn goodbye(&self) -> CloseNotice {
        let total = *self.total.get_or_init(|| self.open.load(Ordering::Relaxed).max(1));
        goodbye(self.window, total, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// The goodbye for the connection of this rank; who comes after the last begins at the front.
fn goodbye(window: Duration, total: usize, rank: usize) -> CloseNotice {
    let total = u32::try_from(total).unwrap_or(u32::MAX);
    let rank = u32::try_from(rank).unwrap_or(u32::MAX) % total;
    let step = (window / total).min(STEP);
    CloseNotice { code: CloseCode::Draining, reconnect_after: step * rank, window: step }
}

impl Shard {
    /// Begins to close all connections.
    pub(super) fn drain(&mut self) {
        // The listener is closed: the system refuses the next client.
        self.acceptor = None;
        self.draining.get_or_insert(0);
    }

    /// Whether connections are left that were not closed.
    pub(super) fn has_unclosed(&self) -> bool {
        self.draining.is_some_and(|next| next < self.connections.capacity())
    }

    /// Closes the next few connections while the server stops.
    pub(super) fn drain_some(&mut self) {
        let Some(begin) = self.draining else { return };
        let end = (begin + TURN_SOCKETS).min(self.connections.capacity());
        for slot in begin..end {
            match self.connections.get(slot).map(|connection| &connection.phase) {
                Some(Phase::Open(_)) => {
                    let goodbye = self.context.drain.goodbye();
                    self.close(slot, goodbye);
                }
                // A request that has not arrived is not waited for.
                Some(Phase::Opening(_)) => self.remove(slot),
                Some(Phase::Closing(_) | Phase::Lingering(_)) => self.hurry(slot),
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
        fn clients_come_back_evenly_within_the_window_and_never_slower_than_they_need(
            window_ms in 1u64..100_000,
            total in 1usize..200_000,
            at in any::<prop::sample::Index>(),
        ) {
            let window = Duration::from_millis(window_ms);
            let rank = at.index(total);
            let this = goodbye(window, total, rank);
            let next = goodbye(window, total, rank + 1);
            prop_assert!(this.reconnect_after + this.window <= window);
            prop_assert!(this.window <= STEP);
            if rank + 1 < total {
                // The random part fills the time to the next one, and no more.
                prop_assert_eq!(this.reconnect_after + this.window, next.reconnect_after);
            } else {
                prop_assert_eq!(next.reconnect_after, Duration::ZERO);
                // The whole window is used, where that is not too slow.
                let used = this.reconnect_after + this.window;
                let rounding = Duration::from_nanos(1) * u32::try_from(total).unwrap();
                prop_assert!(used + rounding >= window.min(STEP * u32::try_from(total).unwrap()));
            }
        }
    }
}
