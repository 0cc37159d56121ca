//! Operations for the store's administrator: lists, exports, deletions, backups.

use std::path::Path;

use rejoin_core::{EVENTS_PER_SESSION, SessionEvent, SessionRow, Store, StoreError};
use rejoin_protocol::SessionId;
use serde::Serialize;
use sqlx::AnyConnection;

use super::{SqlStore, rows};

/// A session with its history.
#[derive(Debug, Serialize)]
pub struct SessionArchive {
    /// The row.
    #[serde(flatten)]
    pub row: SessionRow,
    /// The transitions, in order.
    pub events: Vec<SessionEvent>,
}

impl SqlStore {
    /// Returns all sessions, newest first, including those that were removed.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn sessions(&self) -> Result<Vec<SessionRow>, StoreError> {
        let pool = self.database().await?;
        let statement = "SELECT * FROM sessions WHERE node = $1 ORDER BY created_at DESC, id DESC";
        let rows = sqlx::query(statement).bind(&self.node).fetch_all(&pool).await;
        let rows = rows.map_err(|error| self.location.error(&error))?;
        Ok(rows::read_all(&rows))
    }

    /// Returns a session with its history; `None` if it does not exist.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn archive(&self, id: &SessionId) -> Result<Option<SessionArchive>, StoreError> {
        let Some(row) = self.session(id).await? else { return Ok(None) };
        let limit = usize::try_from(EVENTS_PER_SESSION).unwrap_or(usize::MAX);
        let events = self.session_events(id, 0, limit).await?;
        Ok(Some(SessionArchive { row, events }))
    }

    /// Deletes the rows and histories of sessions that were removed before a time, which is in
    /// milliseconds since the Unix epoch. Returns the number of sessions.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn prune(&self, removed_before: u64) -> Result<u64, StoreError> {
        let pool = self.database().await?;
        let delete = async {
            let mut transaction = pool.begin().await?;
            let bounds = (removed_before, u64::MAX);
            let deleted = prune(&mut transaction, &self.node, bounds).await?;
            transaction.commit().await?;
            Ok(deleted)
        };
        delete.await.map_err(|error| self.location.error(&error))
    }

    /// Copies a SQLite database to a new file, even while a server is using it.
    ///
    /// # Errors
    /// If the file exists or cannot be written, or if the store is a PostgreSQL database.
    pub async fn backup(&self, file: &Path) -> Result<(), StoreError> {
        if self.location.file().is_none() {
            let sentence = "is backed up with its own tools, such as `pg_dump`";
            return Err(StoreError(format!("{} {sentence}", self.location)));
        }

        let target = file.display();
        if file.exists() {
            return Err(StoreError(format!("{target} exists already; name a new file")));
        }
        let Some(path) = file.to_str() else {
            return Err(StoreError(format!("{target} is not UTF-8; name another file")));
        };
        let pool = self.database().await?;
        let copied = sqlx::query("VACUUM INTO $1").bind(path).execute(&pool).await;
        copied.map(drop).map_err(|error| {
            let StoreError(text) = self.location.error(&error);
            StoreError(format!("cannot write {target}: {text}"))
        })
    }
}

/// Deletes what is left of sessions that were removed before a time, and of all but the newest
/// removed ones. Returns the number of sessions.
pub(super) async fn prune(
    connection: &mut AnyConnection,
    node: &str,
    (removed_before, keep): (u64, u64),
) -> sqlx::Result<u64> {
    let statement = "DELETE FROM sessions WHERE node = $1 AND (removed_at < $2 OR id IN (\
                     SELECT id FROM sessions WHERE node = $1 AND removed_at IS NOT NULL \
                     ORDER BY removed_at DESC LIMIT 9223372036854775807 OFFSET $3))";
    let (before, keep) = (rows::number(removed_before), rows::number(keep));
    let deleted = sqlx::query(statement).bind(node).bind(before).bind(keep);
    let deleted = deleted.execute(&mut *connection).await?.rows_affected();

    if deleted > 0 {
        let statement = "DELETE FROM session_events WHERE node = $1 AND NOT EXISTS (\
                         SELECT 1 FROM sessions WHERE sessions.node = session_events.node \
                         AND sessions.id = session_events.session)";
        sqlx::query(statement).bind(node).execute(connection).await?;
    }
    Ok(deleted)
}
