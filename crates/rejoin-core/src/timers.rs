//! A queue of timers, ordered by time.

use std::collections::BTreeMap;

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::lock::{Mutex, level::LEAF};

/// A queue of timers. One task receives them as they expire.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    state: Mutex<State<T>, LEAF>,
    /// Notified when a timer expires earlier than all others.
    earlier: Notify,
}

#[derive(Debug)]
struct State<T> {
    queue: BTreeMap<(Instant, u64), T>,
    /// Distinguishes timers of the same time.
    next_number: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        let state = State { queue: BTreeMap::new(), next_number: 0 };
        Self { state: Mutex::new(state), earlier: Notify::new() }
    }
}

impl<T> Timers<T> {
    pub(crate) fn push(&self, at: Instant, timer: T) {
        let mut state = self.state.lock();
        let is_first = state.queue.first_key_value().is_none_or(|((first, _), _)| at < *first);
        // The number keeps timers of one instant apart in the map.
        let number = state.next_number;
        state.next_number += 1;
        state.queue.insert((at, number), timer);
        drop(state);

        // The task sleeps until the first timer. A later one does not shorten the sleep.
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Waits for the next timer that expires. Only one task may call this.
    ///
    /// Cancel safe: a timer is removed without a wait after it.
    pub(crate) async fn next(&self) -> T {
        loop {
            // The lock is released before the wait, because adding a timer takes it.
            let first = {
                let mut state = self.state.lock();
                let now = Instant::now();
                let first = state.queue.first_entry();
                match first {
                    Some(entry) if entry.key().0 <= now => return entry.remove(),
                    first => first.map(|entry| entry.key().0),
                }
            };

            match first {
                Some(at) => {
                    tokio::select! {
                        () = sleep_until(at) => {}
                        () = self.earlier.notified() => {}
                    }
                }
                None => self.earlier.notified().await,
            }
        }
    }
}
