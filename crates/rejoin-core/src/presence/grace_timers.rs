//! What must be looked at later: seats that were left, counts that were not told.

use std::{collections::BTreeMap, sync::Weak};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::presence::{Member, Place};

/// What to look at: one entry for each seat that was left and is not settled, one for each
/// place whose counts changed. So their number is bounded by who was there.
#[derive(Debug)]
pub(crate) enum Due {
    Seat(Weak<Place>, Member),
    Counts(Weak<Place>),
}

/// A queue of what is to be looked at, by time; one task works through it.
#[derive(Debug, Default)]
pub(crate) struct GraceTimers {
    /// Held for a push or a pop; taken below a place's lock.
    state: Mutex<State>,
    /// Told when something is due earlier than all before.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: BTreeMap<(Instant, u64), Due>,
    /// Tells apart what is due at the same time.
    next: u64,
}

impl GraceTimers {
    pub(crate) fn push(&self, at: Instant, due: Due) {
        let mut state = self.state.lock();
        let is_first = state.queue.first_key_value().is_none_or(|((first, _), _)| at < *first);
        let number = state.next;
        state.next += 1;
        state.queue.insert((at, number), due);
        if is_first {
            drop(state);
            self.sooner.notify_one();
        }
    }

    /// Waits for what is due and settles it, for ever.
    ///
    /// Cancel safe: yes.
    pub(crate) async fn run(&self) {
        loop {
            let first = self.state.lock().queue.first_key_value().map(|((at, _), _)| *at);
            match first {
                Some(at) if at <= Instant::now() => {
                    let due = self.state.lock().queue.pop_first();
                    if let Some((_, due)) = due {
                        settle(due);
                    }
                }
                Some(at) => {
                    tokio::select! {
                        () = sleep_until(at) => {}
                        () = self.sooner.notified() => {}
                    }
                }
                None => self.sooner.notified().await,
            }
        }
    }
}

/// A place that is not there any more needs nothing.
fn settle(due: Due) {
    match due {
        Due::Seat(place, member) => {
            if let Some(place) = place.upgrade() {
                place.settle(&member);
            }
        }
        Due::Counts(place) => {
            if let Some(place) = place.upgrade() {
                place.tell_counts();
            }
        }
    }
}
