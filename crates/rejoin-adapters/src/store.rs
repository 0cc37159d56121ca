//! The store of sessions in SQLite or PostgreSQL.

mod administration;
mod location;
mod rows;
mod schema;

use std::{os::unix::fs::MetadataExt, path::Path, time::Duration};

use parking_lot::RwLock;
use rejoin_core::{
    BoxFuture, Change, EVENTS_PER_SESSION, SessionEvent, SessionRow, Store, StoreError,
};
use rejoin_protocol::SessionId;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection, Executor, any::AnyPoolOptions};
use tracing::error;

pub use administration::SessionArchive;
pub use location::StoreLocation;

/// The number of connections to a database: one writes, and the other reads.
const CONNECTIONS: u32 = 2;
/// The maximum time to connect, and to wait for a lock that another program holds.
const CONNECT: Duration = Duration::from_secs(5);
/// The number of activity times that one statement updates. SQLite accepts 32,766 parameters.
const ACTIVITY_ROWS: usize = 1000;
/// The settings of each SQLite connection. With `FULL`, a commit is on disk when it returns.
const SQLITE_SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                               PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON";

/// A store in a database.
#[derive(Debug)]
pub struct SqlStore {
    location: StoreLocation,
    /// The server that owns the sessions. Several servers may share a database.
    node: String,
    /// Replaced when the file of the database is replaced.
    database: RwLock<Database>,
}

/// An open database.
#[derive(Clone, Debug)]
struct Database {
    pool: AnyPool,
    /// The inode of the database's file. `None` for PostgreSQL.
    inode: Option<u64>,
}

impl SqlStore {
    /// Opens the store of the server `node`, and creates or migrates its tables.
    ///
    /// # Errors
    /// If the database cannot be opened or written, is damaged, belongs to another program, or was
    /// migrated by a newer version of rejoin.
    pub async fn open(location: StoreLocation, node: &str) -> Result<Self, StoreError> {
        let database = open(&location).await?;
        Ok(Self { location, node: node.to_owned(), database: RwLock::new(database) })
    }

    /// Closes the connections, which leaves a SQLite database in a single file.
    pub async fn close(&self) {
        let pool = self.database.read().pool.clone();
        pool.close().await;
    }

    /// Returns the database. Reopens it if its file was removed or replaced.
    async fn database(&self) -> Result<AnyPool, StoreError> {
        let Database { pool, inode } = self.database.read().clone();
        if inode == self.location.file().and_then(self::inode) {
            return Ok(pool);
        }

        // SQLite itself would keep writing to the removed file.
        error!(store = %self.location, "the file was removed or replaced; reopening it");
        let database = open(&self.location).await?;
        let pool = database.pool.clone();
        *self.database.write() = database;
        Ok(pool)
    }

    async fn try_commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let pool = self.database().await?;
        self.apply_all(&pool, changes).await.map_err(|error| self.location.error(&error))
    }

    async fn apply_all(&self, pool: &AnyPool, changes: &[Change]) -> sqlx::Result<()> {
        let mut transaction = pool.begin().await?;
        for change in changes {
            match change {
                Change::Session { row, events } => {
                    rows::write(&mut transaction, &self.node, row).await?;
                    rows::append(&mut transaction, &self.node, row, events).await?;
                }
                Change::Activity(times) => {
                    for times in times.chunks(ACTIVITY_ROWS) {
                        let statement = activity_statement(times.len());
                        let mut query = sqlx::query(AssertSqlSafe(statement)).bind(&self.node);
                        for (id, at) in times {
                            query = query.bind(id.as_str().to_owned()).bind(rows::number(*at));
                        }
                        query.execute(&mut *transaction).await?;
                    }
                }
                Change::Prune { removed_before, keep } => {
                    let bounds = (*removed_before, *keep);
                    administration::prune(&mut transaction, &self.node, bounds).await?;
                }
            }
        }
        transaction.commit().await
    }
}

impl Store for SqlStore {
    fn load(&self) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
        Box::pin(async {
            let pool = self.database().await?;
            let statement = concat!(
                "SELECT * FROM sessions WHERE node = $1 AND removed_at IS NULL ",
                "ORDER BY created_at, id"
            );
            let rows = sqlx::query(statement).bind(&self.node).fetch_all(&pool).await;
            let rows = rows.map_err(|error| self.location.error(&error))?;
            Ok(rows::read_all(&rows))
        })
    }

    fn commit<'a>(&'a self, changes: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.try_commit(changes))
    }

    fn session<'a>(
        &'a self,
        id: &'a SessionId,
    ) -> BoxFuture<'a, Result<Option<SessionRow>, StoreError>> {
        Box::pin(async {
            let pool = self.database().await?;
            let query = sqlx::query("SELECT * FROM sessions WHERE node = $1 AND id = $2");
            let row = query.bind(&self.node).bind(id.as_str()).fetch_all(&pool).await;
            let row = row.map_err(|error| self.location.error(&error))?;
            Ok(rows::read_all(&row).pop())
        })
    }

    fn session_events<'a>(
        &'a self,
        id: &'a SessionId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<SessionEvent>, StoreError>> {
        Box::pin(async move {
            let pool = self.database().await?;
            let statement = concat!(
                "SELECT * FROM session_events WHERE node = $1 AND session = $2 AND number > $3 ",
                "ORDER BY number LIMIT $4"
            );
            let query = sqlx::query(statement).bind(&self.node).bind(id.as_str());
            let limit = (limit as u64).min(EVENTS_PER_SESSION);
            let query = query.bind(rows::number(after)).bind(rows::number(limit));
            let events = query.fetch_all(&pool).await;
            let events = events.map_err(|error| self.location.error(&error))?;
            Ok(rows::read_events(&events))
        })
    }
}

async fn open(location: &StoreLocation) -> Result<Database, StoreError> {
    location.create_file()?;
    let options = location.options()?;
    let is_sqlite = location.file().is_some();
    // Connects once without the pool, which would retry until its timeout and not report the cause.
    let first = async {
        let mut connection = AnyConnection::connect_with(&options).await?;
        set_up(&mut connection, is_sqlite).await?;
        connection.close().await
    };
    first.await.map_err(|error| location.error(&error))?;

    let connect = async |connections| {
        let pool = AnyPoolOptions::new().max_connections(connections).acquire_timeout(CONNECT);
        let pool = pool.after_connect(move |connection, _| Box::pin(set_up(connection, is_sqlite)));
        pool.connect_with(options.clone()).await.map_err(|error| location.error(&error))
    };

    // On one connection, which is closed before others open: one that has read the tables before a
    // migration would run statements with the old columns.
    let single = connect(1).await?;
    let prepared = schema::prepare(&single, location).await;
    single.close().await;
    prepared?;

    let pool = connect(CONNECTIONS).await?;
    let inode = location.file().and_then(inode);
    Ok(Database { pool, inode })
}

async fn set_up(connection: &mut AnyConnection, is_sqlite: bool) -> sqlx::Result<()> {
    if is_sqlite {
        connection.execute(SQLITE_SETTINGS).await?;
    }
    Ok(())
}

fn inode(file: &Path) -> Option<u64> {
    file.metadata().ok().map(|metadata| metadata.ino())
}

/// Returns the statement that updates the activity of `count` sessions.
fn activity_statement(count: usize) -> String {
    let values = (0..count).map(|index| {
        let (id, at) = (2 * index + 2, 2 * index + 3);
        format!("(CAST(${id} AS TEXT), CAST(${at} AS BIGINT))")
    });
    let values = values.collect::<Vec<_>>().join(", ");
    format!(
        "UPDATE sessions SET last_activity_at = v.column2 FROM (VALUES {values}) AS v \
         WHERE sessions.node = $1 AND sessions.id = v.column1"
    )
}
