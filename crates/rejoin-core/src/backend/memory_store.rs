//! A store in memory, which ends with the process.

use std::collections::{BTreeMap, VecDeque};

use futures_util::future::{BoxFuture, ready};
use rejoin_protocol::SessionId;

use crate::{
    backend::{Change, EVENTS_PER_SESSION, SessionEvent, SessionRow, Store, StoreError},
    lock::{Mutex, level::LEAF},
};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    sessions: Mutex<BTreeMap<SessionId, Stored>, LEAF>,
}

#[derive(Debug)]
struct Stored {
    row: SessionRow,
    events: VecDeque<SessionEvent>,
}

impl MemoryStore {
    fn apply(&self, change: &Change) {
        let mut sessions = self.sessions.lock();
        match change {
            Change::Session { row, events } => {
                let row = SessionRow::clone(row);
                let new = || Stored { row: row.clone(), events: VecDeque::new() };
                let stored = sessions.entry(row.record.id.clone()).or_insert_with(new);
                stored.row = row;
                for event in events {
                    if event.number == 1 {
                        stored.events.clear();
                    }
                    // A repeated commit appends nothing.
                    if stored.events.back().is_none_or(|last| last.number < event.number) {
                        stored.events.push_back(event.clone());
                    }
                }
                while stored.events.len() as u64 > EVENTS_PER_SESSION {
                    stored.events.pop_front();
                }
            }
            Change::Activity(times) => {
                for (id, at) in times {
                    if let Some(stored) = sessions.get_mut(id) {
                        stored.row.last_activity_at = *at;
                    }
                }
            }
            Change::Prune { removed_before, keep } => {
                let removed = sessions
                    .iter()
                    .filter_map(|(id, stored)| Some((stored.row.removed_at?, id.clone())));
                let mut removed: Vec<_> = removed.collect();
                removed.sort_unstable_by(|a, b| b.cmp(a));
                let keep = usize::try_from(*keep).unwrap_or(usize::MAX);
                for (index, (at, id)) in removed.into_iter().enumerate() {
                    if at < *removed_before || index >= keep {
                        sessions.remove(&id);
                    }
                }
            }
        }
    }
}

impl Store for MemoryStore {
    fn load(&self) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
        let sessions = self.sessions.lock();
        let rows = sessions.values().map(|stored| &stored.row);
        let rows = rows.filter(|row| row.removed_at.is_none()).cloned().collect();
        Box::pin(ready(Ok(rows)))
    }

    fn commit<'a>(&'a self, changes: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        changes.iter().for_each(|change| self.apply(change));
        Box::pin(ready(Ok(())))
    }

    fn session<'a>(
        &'a self,
        id: &'a SessionId,
    ) -> BoxFuture<'a, Result<Option<SessionRow>, StoreError>> {
        let row = self.sessions.lock().get(id).map(|stored| stored.row.clone());
        Box::pin(ready(Ok(row)))
    }

    fn session_events<'a>(
        &'a self,
        id: &'a SessionId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<SessionEvent>, StoreError>> {
        let sessions = self.sessions.lock();
        let events = sessions.get(id).map(|stored| &stored.events).into_iter().flatten();
        let events = events.filter(|event| event.number > after).take(limit).cloned().collect();
        Box::pin(ready(Ok(events)))
    }
}
