//! The recorder: commits the transitions of all sessions to the store, in groups.

use std::{
    collections::{HashMap, VecDeque},
    fmt, mem,
    sync::Arc,
    time::Duration,
};

use rejoin_protocol::SessionId;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tracing::{error, info};

use crate::{
    backend::{Change, EVENTS_PER_SESSION, SessionEvent, SessionRow, Store},
    lock::{Mutex, level::LEAF},
    shutdown::Shutdown,
};

/// The time for one commit. Its result is unknown afterwards, and it is repeated.
const COMMIT: Duration = Duration::from_secs(30);
/// The time before the first repetition of a failed commit, doubled with each failure.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The most time before a repetition.
const MAX_DELAY: Duration = Duration::from_secs(5);
/// The time for the last commits during a stop.
const LAST_COMMITS: Duration = Duration::from_secs(3);

/// Called once the state of a session that it belongs to is durable.
pub(crate) type Confirm = Box<dyn FnOnce() + Send>;

/// A handle to the queue of changes. One task commits them.
///
/// The queue is bounded by the number of sessions: each has one row and at most
/// [`EVENTS_PER_SESSION`] events in it.
#[derive(Clone)]
pub(crate) struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    pending: Mutex<Pending, LEAF>,
    /// Notified when a change is queued.
    ready: Notify,
    /// The number of the last durable change.
    durable: watch::Sender<u64>,
}

#[derive(Default)]
struct Pending {
    /// The number of the last change.
    last: u64,
    sessions: HashMap<SessionId, SessionChange>,
    /// The ids of `sessions`, in the order of their first change.
    order: Vec<SessionId>,
    others: Vec<Change>,
}

/// The changes of one session that are not durable.
struct SessionChange {
    row: SessionRow,
    events: VecDeque<SessionEvent>,
    /// The callback of the newest state.
    confirm: Option<Confirm>,
}

impl Recorder {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let (durable, _) = watch::channel(0);
        let pending = Mutex::default();
        Self { shared: Arc::new(Shared { store, pending, ready: Notify::new(), durable }) }
    }

    /// Returns the store, to read from it.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.shared.store
    }

    /// Queues a transition. Returns the number to wait for.
    ///
    /// Called with locks held, so that the transitions of a session are queued in order.
    pub(crate) fn record(
        &self,
        row: SessionRow,
        event: SessionEvent,
        confirm: Option<Confirm>,
    ) -> u64 {
        let mut pending = self.shared.pending.lock();
        let id = row.record.id.clone();
        // Taken out of the lock: a callback holds a session.
        let mut replaced = None;
        if let Some(change) = pending.sessions.get_mut(&id) {
            change.row = row;
            if event.number == 1 {
                change.events.clear();
            }
            change.events.push_back(event);
            if change.events.len() as u64 > EVENTS_PER_SESSION {
                // The store would drop it as well.
                change.events.pop_front();
            }
            if confirm.is_some() {
                replaced = mem::replace(&mut change.confirm, confirm);
            }
        } else {
            let change = SessionChange { row, events: VecDeque::from([event]), confirm };
            pending.sessions.insert(id.clone(), change);
            pending.order.push(id);
        }

        pending.last += 1;
        let number = pending.last;
        drop(pending);
        drop(replaced);
        self.shared.ready.notify_one();
        number
    }

    /// Queues a change that may be lost, unless another one waits: the store is slow then.
    pub(crate) fn offer(&self, change: Change) {
        let mut pending = self.shared.pending.lock();
        // At most one of each kind.
        let kind = mem::discriminant(&change);
        if pending.others.iter().any(|other| mem::discriminant(other) == kind) {
            return;
        }
        pending.others.push(change);
        drop(pending);
        self.shared.ready.notify_one();
    }

    /// Waits until a change is durable. Cancel safe.
    pub(crate) async fn durable(&self, number: u64) {
        let mut durable = self.shared.durable.subscribe();
        // An error is impossible: `self` holds the sender.
        let _ = durable.wait_for(|durable| *durable >= number).await;
    }

    /// Commits changes until the shutdown, and then those that are left.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = self.shared.ready.notified() => {}
                () = shutdown.begun() => break,
            }
            if !self.commit_pending(&shutdown).await {
                break;
            }
        }

        // Tasks that stop at the same time record the departures of their connections.
        let last = timeout(LAST_COMMITS, async { while self.commit_once().await {} }).await;
        if last.is_err() {
            error!("the last transitions of sessions are not in the store");
        }
    }

    /// Commits what is left. Returns `false` if nothing was.
    async fn commit_once(&self) -> bool {
        let taken = self.take();
        if taken.changes.is_empty() {
            return false;
        }
        if let Err(error) = self.shared.store.commit(&taken.changes).await {
            error!(%error, "transitions of sessions are not in the store");
            return false;
        }
        self.confirm(taken);
        true
    }

    /// Commits everything that is pending, as often as needed. Returns `false` if the stop has
    /// begun before it was in.
    async fn commit_pending(&self, shutdown: &Shutdown) -> bool {
        let taken = self.take();
        if taken.changes.is_empty() {
            return true;
        }

        let (mut delay, mut last_error) = (FIRST_DELAY, None);
        let failing_since = Instant::now();
        loop {
            let stopped = async {
                shutdown.begun().await;
                sleep(LAST_COMMITS).await;
            };
            let committed = tokio::select! {
                committed = timeout(COMMIT, self.shared.store.commit(&taken.changes)) => committed,
                () = stopped => {
                    self.give_back(taken);
                    return false;
                }
            };
            let error = match committed {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("the store did not answer within {COMMIT:?}"),
            };
            // Once for each problem, not for each attempt.
            if last_error.as_ref() != Some(&error) {
                error!(error, "the store does not take transitions of sessions; trying again");
                last_error = Some(error);
            }

            tokio::select! {
                () = sleep(delay) => delay = MAX_DELAY.min(delay * 2),
                () = shutdown.begun() => {
                    self.give_back(taken);
                    return false;
                }
            }
        }

        if last_error.is_some() {
            let away = failing_since.elapsed();
            info!(?away, "the store takes transitions of sessions again");
        }
        self.confirm(taken);
        true
    }

    fn take(&self) -> Taken {
        let mut pending = self.shared.pending.lock();
        let pending = &mut *pending;
        let mut sessions = mem::take(&mut pending.sessions);
        let order = mem::take(&mut pending.order);
        let mut taken = Taken { last: pending.last, changes: Vec::new(), confirms: Vec::new() };
        for change in order.iter().filter_map(|id| sessions.remove(id)) {
            let SessionChange { row, events, confirm } = change;
            taken.changes.push(Change::Session { row: Box::new(row), events: events.into() });
            taken.confirms.extend(confirm);
        }
        taken.changes.append(&mut pending.others);
        taken
    }

    /// Puts changes back in front of those that were queued since.
    fn give_back(&self, taken: Taken) {
        let mut pending = self.shared.pending.lock();
        for change in taken.changes.into_iter().rev() {
            let Change::Session { row, events } = change else { continue };
            let id = row.record.id.clone();
            if let Some(newer) = pending.sessions.get_mut(&id) {
                // The newer row replaces this one; all events are kept.
                events.into_iter().rev().for_each(|event| newer.events.push_front(event));
            } else {
                let change = SessionChange { row: *row, events: events.into(), confirm: None };
                pending.sessions.insert(id.clone(), change);
                pending.order.insert(0, id);
            }
        }
    }

    fn confirm(&self, taken: Taken) {
        taken.confirms.into_iter().for_each(|confirm| confirm());
        self.shared.durable.send_replace(taken.last);
    }
}

/// Changes that are being committed.
struct Taken {
    /// The number of the last one.
    last: u64,
    changes: Vec<Change>,
    confirms: Vec<Confirm>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("store", &self.shared.store).finish_non_exhaustive()
    }
}
