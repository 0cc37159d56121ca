//! Sockets that are not WebSockets, or not yet: their number is bounded.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Where sockets wait until they are upgraded. When one more comes than may be here, one that
/// has been here for long must go: who means well needs milliseconds.
#[derive(Debug)]
pub(crate) struct Lobby {
    max: usize,
    /// Held for a look at its ends, or to add or remove a guest.
    guests: Mutex<Guests>,
    /// Sockets that had to go.
    evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct Guests {
    /// In the order of their arrival.
    next: u64,
    /// Those that the server waits for: for a handshake, a request's head, another request.
    idle: BTreeMap<u64, Arc<Notify>>,
    /// Those whose requests are being served.
    busy: BTreeMap<u64, Arc<Notify>>,
}

/// A place in the lobby, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    lobby: Arc<Lobby>,
    number: u64,
    evicted: Arc<Notify>,
}

/// A request that is being served, until it is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Seat>);

impl Lobby {
    pub(crate) fn new(max: NonZeroUsize) -> Self {
        Self { max: max.get(), guests: Mutex::default(), evicted: AtomicU64::new(0) }
    }

    /// A seat for one more, after making room.
    pub(crate) fn enter(self: &Arc<Self>) -> Seat {
        let evicted = Arc::new(Notify::new());
        let mut guests = self.guests.lock();
        while guests.len() >= self.max {
            let victim = guests.remove_victim(self.max).expect("more than none are there");
            self.evicted.fetch_add(1, Ordering::Relaxed);
            victim.notify_one();
        }
        let number = guests.next;
        guests.next += 1;
        guests.idle.insert(number, Arc::clone(&evicted));
        drop(guests);
        Seat { lobby: Arc::clone(self), number, evicted }
    }

    /// How many sockets had to go.
    #[cfg(test)]
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

impl Guests {
    fn len(&self) -> usize {
        self.idle.len() + self.busy.len()
    }

    /// The oldest of the idle ones. Who trickles a request's body is busy too: so long as these
    /// hold more than half of the seats, they are the ones to go.
    fn remove_victim(&mut self, max: usize) -> Option<Arc<Notify>> {
        let (first, second) = if self.busy.len() > max / 2 {
            (&mut self.busy, &mut self.idle)
        } else {
            (&mut self.idle, &mut self.busy)
        };
        first.pop_first().or_else(|| second.pop_first()).map(|(_, victim)| victim)
    }
}

impl Seat {
    /// Completes when it has to go. Cancel safe: yes.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Notes that a request is being served.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        let mut guests = self.lobby.guests.lock();
        if let Some(evicted) = guests.idle.remove(&self.number) {
            guests.busy.insert(self.number, evicted);
        }
        drop(guests);
        Busy(Arc::clone(self))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Self(seat) = self;
        let mut guests = seat.lobby.guests.lock();
        if let Some(evicted) = guests.busy.remove(&seat.number) {
            guests.idle.insert(seat.number, evicted);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut guests = self.lobby.guests.lock();
        guests.idle.remove(&self.number);
        guests.busy.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn lobby(max: usize) -> Arc<Lobby> {
        Arc::new(Lobby::new(NonZeroUsize::new(max).unwrap()))
    }

    fn must_go(seat: &Seat) -> bool {
        seat.evicted().now_or_never().is_some()
    }

    #[test]
    fn one_too_many_makes_the_oldest_go() {
        let lobby = lobby(2);
        let (first, second) = (lobby.enter(), lobby.enter());
        assert!(!must_go(&first));
        let third = lobby.enter();
        assert!(must_go(&first) && !must_go(&second) && !must_go(&third));
        assert_eq!(lobby.evicted(), 1);
    }

    #[test]
    fn who_leaves_makes_room() {
        let lobby = lobby(2);
        let first = lobby.enter();
        drop(lobby.enter());
        let _third = lobby.enter();
        assert!(!must_go(&first));
        assert_eq!(lobby.evicted(), 0);
    }

    #[test]
    fn a_request_that_is_served_is_spared() {
        let lobby = lobby(2);
        let (first, second) = (Arc::new(lobby.enter()), lobby.enter());
        let busy = first.busy();
        let third = lobby.enter();
        assert!(!must_go(&first) && must_go(&second));
        drop(busy);
        let _fourth = lobby.enter();
        assert!(must_go(&first) && !must_go(&third));
    }

    #[test]
    fn requests_that_never_end_do_not_keep_the_others_out() {
        let lobby = lobby(4);
        let guests: Vec<_> = (0..3).map(|_| Arc::new(lobby.enter())).collect();
        let _served: Vec<_> = guests.iter().map(Seat::busy).collect();
        let newcomer = lobby.enter();
        let _another = lobby.enter();
        assert!(must_go(&guests[0]) && !must_go(&guests[1]) && !must_go(&newcomer));
        assert_eq!(lobby.guests.lock().len(), 4);
    }
}
