//! The tables of the store, and the checks of a database before it is used.

use rejoin_core::StoreError;
use sqlx::{AnyPool, AssertSqlSafe, Executor, Row};

use super::StoreLocation;

/// The `application_id` of a SQLite database of rejoin: the bytes of `rjon`.
const APPLICATION_ID: i64 = 0x726a_6f6e;

/// The migrations, each in one transaction. Both databases understand the statements.
const MIGRATIONS: &[&[&str]] = &[CREATE, REVIVALS];

const CREATE: &[&str] = &[
    "CREATE TABLE sessions (
        node TEXT NOT NULL,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        owner TEXT NOT NULL,
        profile TEXT NOT NULL,
        name TEXT,
        status TEXT NOT NULL,
        active_connections BIGINT NOT NULL,
        destroy_at BIGINT,
        deadline_boot TEXT,
        deadline_at BIGINT,
        last_activity_at BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        exit_code BIGINT,
        exit_signal TEXT,
        has_exit BIGINT NOT NULL,
        reason TEXT,
        title TEXT NOT NULL,
        cols BIGINT NOT NULL,
        rows BIGINT NOT NULL,
        first_cols BIGINT NOT NULL,
        first_rows BIGINT NOT NULL,
        cwd TEXT,
        epoch TEXT NOT NULL,
        last_event BIGINT NOT NULL,
        removed_at BIGINT,
        PRIMARY KEY (node, id)
    )",
    "CREATE TABLE session_events (
        node TEXT NOT NULL,
        session TEXT NOT NULL,
        number BIGINT NOT NULL,
        at BIGINT NOT NULL,
        event TEXT NOT NULL,
        status TEXT NOT NULL,
        active_connections BIGINT NOT NULL,
        user_id TEXT,
        reason TEXT,
        PRIMARY KEY (node, session, number)
    )",
    "CREATE INDEX sessions_by_removal ON sessions (node, removed_at)",
];

const REVIVALS: &[&str] = &[
    "ALTER TABLE sessions ADD COLUMN revived_from TEXT",
    "ALTER TABLE sessions ADD COLUMN revived_as TEXT",
    // Version 1 wrote the loss of a program as an exit without code and signal.
    "UPDATE sessions SET has_exit = 0 \
     WHERE reason = 'the process that held the terminal, its keeper, was ended'",
];

/// Checks that the database can be used, and migrates it.
pub(super) async fn prepare(pool: &AnyPool, location: &StoreLocation) -> Result<(), StoreError> {
    if location.file().is_some() {
        check_file(pool, location).await?;
    }
    migrate(pool, location).await
}

async fn check_file(pool: &AnyPool, location: &StoreLocation) -> Result<(), StoreError> {
    let id = number(pool, "PRAGMA application_id").await;
    let id = id.map_err(|error| location.error(&error))?;
    let tables = number(pool, "SELECT count(*) FROM sqlite_master").await;
    let tables = tables.map_err(|error| location.error(&error))?;
    if id != APPLICATION_ID && (id != 0 || tables > 0) {
        return Err(StoreError(format!(
            "{location}: it belongs to another program; name another file in `store.url`"
        )));
    }

    let check = sqlx::query("PRAGMA quick_check(1)").fetch_one(pool).await;
    let check = check.and_then(|row| row.try_get::<String, _>(0));
    let check = check.map_err(|error| location.error(&error))?;
    if check != "ok" {
        let check = check.replace('\n', " ");
        return Err(StoreError(format!(
            "{location}: it is damaged ({check}); restore a backup, or move the file away"
        )));
    }
    Ok(())
}

async fn migrate(pool: &AnyPool, location: &StoreLocation) -> Result<(), StoreError> {
    let failed = |error: sqlx::Error| location.error(&error);
    let begin = if location.file().is_some() { "BEGIN IMMEDIATE" } else { "BEGIN" };
    // Done even without a migration, so that a read-only database is reported at the start.
    let mut transaction = pool.begin_with(begin).await.map_err(failed)?;
    let table = "CREATE TABLE IF NOT EXISTS store_schema (version BIGINT NOT NULL)";
    transaction.execute(table).await.map_err(failed)?;

    let version = sqlx::query("SELECT version FROM store_schema").fetch_optional(&mut *transaction);
    let version = version.await.map_err(failed)?;
    let version = version.map(|row| row.try_get::<i64, _>(0)).transpose().map_err(failed)?;
    let newest = MIGRATIONS.len();
    let done = version.map_or(Ok(0), usize::try_from).unwrap_or(usize::MAX);
    if done > newest {
        return Err(StoreError(format!(
            "{location}: its schema has version {}, and this version of rejoin knows {newest}; \
             start a newer version",
            version.unwrap_or_default()
        )));
    }

    for migration in &MIGRATIONS[done..] {
        for statement in *migration {
            transaction.execute(*statement).await.map_err(failed)?;
        }
    }
    if location.file().is_some() {
        let id = AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}"));
        transaction.execute(id).await.map_err(failed)?;
    }
    let statement = match version {
        Some(_) => "UPDATE store_schema SET version = $1",
        None => "INSERT INTO store_schema (version) VALUES ($1)",
    };
    let newest = i64::try_from(newest).unwrap_or(i64::MAX);
    sqlx::query(statement).bind(newest).execute(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

async fn number(pool: &AnyPool, query: &'static str) -> sqlx::Result<i64> {
    sqlx::query(query).fetch_one(pool).await?.try_get(0)
}
