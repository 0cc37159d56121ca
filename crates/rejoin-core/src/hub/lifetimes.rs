//! The lifetimes of a hub's sessions: idle time-outs, retention, and their histories.

use std::{collections::HashMap, time::Duration};

use rejoin_protocol::{SessionId, message::ErrorBody};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::warn;

use crate::{
    access::{Identity, SessionRight},
    backend::{Change, EventKind, RowStatus, SessionEvent, SessionRecord, SessionRow, StoreError},
    hub::{
        Hub,
        refusals::{store_is_away, unknown_session},
    },
    recorder::Recorder,
    session::Session,
    time::now_ms,
};

/// The time between two writes of activity: rows are at most this late.
const ACTIVITY: Duration = Duration::from_secs(5);
/// The number of activity writes between two looks for sessions that ended long ago.
const RETENTION_TICKS: u32 = 12;
/// The removed sessions of which rows and histories are kept, the newest.
const MAX_REMOVED: u64 = 10_000;
/// The time that a request waits for the store.
pub(super) const STORE_WAIT: Duration = Duration::from_secs(10);
/// The reason of a session whose start was not awaited to its end.
pub(super) const CANCELLED: &str = "the request was cancelled";
/// The reason of a session whose program was gone after a start.
const LOST: &str = "the program was gone when the server started";

/// A part of a session's history.
#[derive(Clone, Debug)]
pub struct SessionHistory {
    /// The session's row as it is stored.
    pub row: SessionRow,
    /// Transitions, in order.
    pub events: Vec<SessionEvent>,
}

/// The row of a session that starts. Dropping it records that the start has failed.
#[derive(Debug)]
pub(super) struct StartingRow<'a> {
    recorder: &'a Recorder,
    row: Option<SessionRow>,
    /// The reason of a failure.
    reason: String,
}

impl<'a> StartingRow<'a> {
    /// Records the row of a new session, and waits until it is durable.
    ///
    /// # Errors
    /// `overloaded` if the store does not answer.
    pub(super) async fn record(recorder: &'a Recorder, row: SessionRow) -> Result<Self, ErrorBody> {
        let mut starting = Self { recorder, row: None, reason: CANCELLED.into() };
        let row = starting.row.insert(row);
        let event = row.event(EventKind::Created, Some(row.record.owner.clone()), now_ms());
        let number = recorder.record(row.clone(), event, None);
        if timeout(STORE_WAIT, recorder.durable(number)).await.is_err() {
            let error = store_is_away();
            starting.reason = error.message.clone().into_owned();
            return Err(error);
        }
        Ok(starting)
    }

    /// Returns the row of a program that was started.
    pub(super) fn started(mut self) -> SessionRow {
        self.row.take().expect("a start ends once")
    }

    /// Records a failure. Returns its error once the record is durable, if the store answers.
    pub(super) async fn fail(mut self, error: ErrorBody) -> ErrorBody {
        self.reason = error.message.clone().into_owned();
        if let Some(number) = self.record_failure() {
            let _ = timeout(STORE_WAIT, self.recorder.durable(number)).await;
        }
        error
    }

    fn record_failure(&mut self) -> Option<u64> {
        let mut row = self.row.take()?;
        let now = now_ms();
        row.status = RowStatus::Error;
        row.reason = Some(std::mem::take(&mut self.reason));
        row.removed_at = Some(now);
        let event = row.event(EventKind::StartFailed, None, now);
        Some(self.recorder.record(row, event, None))
    }
}

impl Drop for StartingRow<'_> {
    fn drop(&mut self) {
        self.record_failure();
    }
}

impl Hub {
    /// Returns the row of a session and the first `limit` transitions after the number `after`,
    /// also after the removal of the session.
    ///
    /// # Errors
    /// `unknown_session` or `forbidden` as [`session`](Self::session); `overloaded` if the store
    /// does not answer.
    pub async fn session_history(
        &self,
        id: &SessionId,
        identity: &Identity,
        after: u64,
        limit: usize,
    ) -> Result<SessionHistory, ErrorBody> {
        let store = self.shared.lifetime.recorder.store();
        let read = async {
            let row = store.session(id).await?;
            Ok::<_, StoreError>((row, store.session_events(id, after, limit).await?))
        };
        let away = |error: &dyn std::fmt::Display| {
            warn!(%error, "cannot read the history of a session");
            store_is_away()
        };
        let (row, events) = match timeout(STORE_WAIT, read).await {
            Ok(Ok(history)) => history,
            Ok(Err(error)) => return Err(away(&error)),
            Err(error) => return Err(away(&error)),
        };

        let may_attach = |row: &SessionRow| {
            identity.may(&row.record.owner, &row.record.profile, SessionRight::Attach)
        };
        match row.filter(may_attach) {
            Some(row) => Ok(SessionHistory { row, events }),
            None => Err(unknown_session(id)),
        }
    }

    /// Reads the rows of the last process.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(super) async fn load_rows(&self) -> Result<HashMap<SessionId, SessionRow>, StoreError> {
        let rows = self.shared.lifetime.recorder.store().load().await?;
        Ok(rows.into_iter().map(|row| (row.record.id.clone(), row)).collect())
    }

    /// Returns the row with which a terminal continues whose session has none in use.
    ///
    /// Returns `None` if the session was removed: its terminal must end.
    pub(super) async fn row_of_orphan(&self, record: SessionRecord) -> Option<SessionRow> {
        let stored = self.shared.lifetime.recorder.store().session(&record.id).await;
        match stored {
            // Its files could not be read at an earlier start.
            Ok(Some(row)) if row.reason.as_deref() == Some(LOST) => {
                Some(SessionRow { last_event: row.last_event, ..SessionRow::new(record) })
            }
            Ok(Some(row)) if row.removed_at.is_some() => None,
            Ok(_) | Err(_) => Some(SessionRow::new(record)),
        }
    }

    /// Sets the rows of sessions right whose terminals do not exist.
    pub(super) fn record_lost(&self, rows: impl IntoIterator<Item = SessionRow>) {
        for mut row in rows {
            let now = now_ms();
            let kind = if row.status.is_ended() {
                EventKind::Removed
            } else {
                row.status = RowStatus::Error;
                row.reason = Some(LOST.to_owned());
                EventKind::Lost
            };
            warn!(session = %row.record.id, "the terminal of a session does not exist any more");
            row.active_connections = 0;
            row.destroy_at = None;
            row.deadline = None;
            row.removed_at = Some(now);
            let event = row.event(kind, None, now);
            self.shared.lifetime.recorder.record(row, event, None);
        }
    }

    pub(super) async fn run_lifetimes_until_shutdown(&self) {
        let mut ticks = interval(ACTIVITY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0;
        loop {
            tokio::select! {
                timer = self.shared.lifetime.timers.next() => timer.expire(),
                _ = ticks.tick() => {
                    self.record_activity();
                    if count % RETENTION_TICKS == 0 {
                        self.apply_retention();
                    }
                    count += 1;
                }
                () = self.shared.ended.notified() => self.remove_excess(),
                () = self.shared.shutdown.begun() => return,
            }
        }
    }

    /// Offers the times of the last activity to the store, as one change.
    fn record_activity(&self) {
        let sessions = self.shared.sessions.list(|_| true);
        let times = sessions
            .iter()
            .filter_map(|session| Some((session.id().clone(), session.take_activity()?)));
        let times: Vec<_> = times.collect();
        if !times.is_empty() {
            self.shared.lifetime.recorder.offer(Change::Activity(times));
        }
    }

    /// Removes the sessions that ended long ago, and what is left of removed ones.
    pub(super) fn apply_retention(&self) {
        let retention = self.shared.config.sessions.retention;
        let retention = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        let before = now_ms().saturating_sub(retention);
        let is_old = |at: u64| at < before;
        self.remove(self.shared.sessions.list(|session| session.ended_at().is_some_and(is_old)));
        self.remove_excess();

        let prune = Change::Prune { removed_before: before, keep: MAX_REMOVED };
        self.shared.lifetime.recorder.offer(prune);
    }

    /// Removes the ended sessions that users have above the bound.
    fn remove_excess(&self) {
        self.remove(self.shared.sessions.excess());
    }

    fn remove(&self, sessions: Vec<Session>) {
        for session in sessions {
            let hub = self.clone();
            self.shared.shutdown.spawn(async move { hub.close_session(&session).await });
        }
    }
}
