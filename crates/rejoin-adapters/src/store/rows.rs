//! Rows of the database: writes and reads sessions and their events.

use rejoin_core::{
    EVENTS_PER_SESSION, EventKind, RowStatus, SessionEvent, SessionRecord, SessionRow,
    StoredDeadline,
};
use rejoin_protocol::{Exit, ProfileName, SessionId, UserId};
use sqlx::{AnyConnection, Row, any::AnyRow};
use tracing::error;

/// The columns of a session, in the order of the parameters.
const WRITE: &str = "INSERT INTO sessions (node, id, kind, owner, profile, name, status, \
    active_connections, destroy_at, deadline_boot, deadline_at, last_activity_at, created_at, \
    updated_at, exit_code, exit_signal, has_exit, reason, title, cols, rows, first_cols, \
    first_rows, cwd, epoch, last_event, removed_at, revived_from, revived_as) VALUES ($1, $2, \
    'terminal', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
    $20, $21, $22, $23, $24, $25, $26, $27, $28) ON CONFLICT (node, id) DO UPDATE SET \
    owner = excluded.owner, profile = excluded.profile, \
    name = excluded.name, status = excluded.status, \
    active_connections = excluded.active_connections, destroy_at = excluded.destroy_at, \
    deadline_boot = excluded.deadline_boot, deadline_at = excluded.deadline_at, \
    last_activity_at = excluded.last_activity_at, created_at = excluded.created_at, \
    updated_at = excluded.updated_at, exit_code = excluded.exit_code, \
    exit_signal = excluded.exit_signal, has_exit = excluded.has_exit, reason = excluded.reason, \
    title = excluded.title, cols = excluded.cols, rows = excluded.rows, \
    first_cols = excluded.first_cols, first_rows = excluded.first_rows, cwd = excluded.cwd, \
    epoch = excluded.epoch, last_event = excluded.last_event, removed_at = excluded.removed_at, \
    revived_from = excluded.revived_from, revived_as = excluded.revived_as";
const APPEND: &str = "INSERT INTO session_events (node, session, number, at, event, status, \
    active_connections, user_id, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
    ON CONFLICT DO NOTHING";

/// Returns a number as the database stores it.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Writes the row of a session.
pub(super) async fn write(
    connection: &mut AnyConnection,
    node: &str,
    row: &SessionRow,
) -> sqlx::Result<()> {
    let SessionRecord { id, owner, profile, name, created_at, epoch, size, cwd, revived_from } =
        &row.record;
    let query = sqlx::query(WRITE)
        .bind(node)
        .bind(id.as_str())
        .bind(owner.as_str())
        .bind(profile.as_str())
        .bind(name.clone())
        .bind(row.status.as_str())
        .bind(number(row.active_connections))
        .bind(row.destroy_at.map(number))
        .bind(row.deadline.as_ref().map(|deadline| deadline.boot.clone()))
        .bind(row.deadline.as_ref().map(|deadline| number(deadline.at)))
        .bind(number(row.last_activity_at))
        .bind(number(*created_at))
        .bind(number(row.updated_at));
    let exit = row.exit.as_ref();
    let query = query
        .bind(exit.and_then(|exit| exit.code).map(i64::from))
        .bind(exit.and_then(|exit| exit.signal.clone()))
        .bind(i64::from(exit.is_some()))
        .bind(row.reason.as_deref().map(storable))
        .bind(storable(&row.title))
        .bind(i64::from(row.cols))
        .bind(i64::from(row.rows))
        .bind(i64::from(size.0))
        .bind(i64::from(size.1))
        .bind(cwd.clone())
        // Stored as text, because it uses all 64 bits.
        .bind(epoch.to_string())
        .bind(number(row.last_event))
        .bind(row.removed_at.map(number))
        .bind(revived_from.as_ref().map(|id| id.as_str().to_owned()))
        .bind(row.revived_as.as_ref().map(|id| id.as_str().to_owned()));
    query.execute(connection).await.map(drop)
}

/// Appends events to the history of a session, and drops the oldest ones above its bound.
pub(super) async fn append(
    connection: &mut AnyConnection,
    node: &str,
    row: &SessionRow,
    events: &[SessionEvent],
) -> sqlx::Result<()> {
    let id = row.record.id.as_str();
    if events.first().is_some_and(|event| event.number == 1) {
        // An earlier session may have had the same id.
        let query = sqlx::query("DELETE FROM session_events WHERE node = $1 AND session = $2");
        query.bind(node).bind(id).execute(&mut *connection).await?;
    }

    for event in events {
        let query = sqlx::query(APPEND)
            .bind(node)
            .bind(id)
            .bind(number(event.number))
            .bind(number(event.at))
            .bind(event.event.as_str())
            .bind(event.status.as_str())
            .bind(number(event.active_connections))
            .bind(event.user.as_ref().map(|user| user.as_str().to_owned()))
            .bind(event.reason.as_deref().map(storable));
        query.execute(&mut *connection).await?;
    }

    if row.last_event > EVENTS_PER_SESSION {
        let statement = "DELETE FROM session_events WHERE node = $1 AND session = $2 AND \
                         number <= $3";
        let oldest = number(row.last_event - EVENTS_PER_SESSION);
        sqlx::query(statement).bind(node).bind(id).bind(oldest).execute(connection).await?;
    }
    Ok(())
}

/// Reads sessions. Logs and skips invalid rows.
pub(super) fn read_all(rows: &[AnyRow]) -> Vec<SessionRow> {
    let read = |row: &AnyRow| match read(row) {
        Ok(row) => Some(row),
        Err(problem) => {
            let session: String = row.try_get("id").unwrap_or_default();
            error!(session, problem, "a row of the table `sessions` is invalid; ignoring it");
            None
        }
    };
    rows.iter().filter_map(read).collect()
}

/// Reads events. Skips invalid ones.
pub(super) fn read_events(rows: &[AnyRow]) -> Vec<SessionEvent> {
    rows.iter().filter_map(|row| read_event(row).ok()).collect()
}

fn read(row: &AnyRow) -> Result<SessionRow, String> {
    let dimension = |column: &'static str| -> Result<u16, String> {
        u16::try_from(integer(row, column)?).map_err(|_| invalid(column))
    };
    let record = SessionRecord {
        id: SessionId::new(&text(row, "id")?).map_err(|_| invalid("id"))?,
        owner: UserId::new(&text(row, "owner")?).map_err(|_| invalid("owner"))?,
        profile: ProfileName::new(&text(row, "profile")?).map_err(|_| invalid("profile"))?,
        name: optional_text(row, "name")?,
        created_at: integer(row, "created_at")?,
        epoch: text(row, "epoch")?.parse().map_err(|_| invalid("epoch"))?,
        size: (dimension("first_cols")?, dimension("first_rows")?),
        cwd: optional_text(row, "cwd")?,
        revived_from: optional_id(row, "revived_from")?,
    };

    let boot = optional_text(row, "deadline_boot")?;
    let deadline = boot.zip(optional_integer(row, "deadline_at")?);
    let exit_code = optional_integer(row, "exit_code")?;
    let exit = Exit {
        code: exit_code.map(i32::try_from).transpose().map_err(|_| invalid("exit_code"))?,
        signal: optional_text(row, "exit_signal")?,
    };
    Ok(SessionRow {
        record,
        status: RowStatus::from_name(&text(row, "status")?).ok_or_else(|| invalid("status"))?,
        active_connections: integer(row, "active_connections")?,
        destroy_at: optional_integer(row, "destroy_at")?,
        deadline: deadline.map(|(boot, at)| StoredDeadline { boot, at }),
        last_activity_at: integer(row, "last_activity_at")?,
        updated_at: integer(row, "updated_at")?,
        exit: (integer(row, "has_exit")? != 0).then_some(exit),
        reason: optional_text(row, "reason")?,
        revived_as: optional_id(row, "revived_as")?,
        title: text(row, "title")?,
        cols: dimension("cols")?,
        rows: dimension("rows")?,
        last_event: integer(row, "last_event")?,
        removed_at: optional_integer(row, "removed_at")?,
    })
}

fn read_event(row: &AnyRow) -> Result<SessionEvent, String> {
    let user = optional_text(row, "user_id")?;
    Ok(SessionEvent {
        number: integer(row, "number")?,
        at: integer(row, "at")?,
        event: EventKind::from_name(&text(row, "event")?).ok_or_else(|| invalid("event"))?,
        status: RowStatus::from_name(&text(row, "status")?).ok_or_else(|| invalid("status"))?,
        active_connections: integer(row, "active_connections")?,
        user: user.and_then(|user| UserId::new(&user).ok()),
        reason: optional_text(row, "reason")?,
    })
}

fn text(row: &AnyRow, column: &'static str) -> Result<String, String> {
    row.try_get(column).map_err(|_| invalid(column))
}

fn optional_text(row: &AnyRow, column: &'static str) -> Result<Option<String>, String> {
    row.try_get(column).map_err(|_| invalid(column))
}

fn optional_id(row: &AnyRow, column: &'static str) -> Result<Option<SessionId>, String> {
    let text = optional_text(row, column)?;
    text.map(|id| SessionId::new(&id).map_err(|_| invalid(column))).transpose()
}

fn integer(row: &AnyRow, column: &'static str) -> Result<u64, String> {
    optional_integer(row, column)?.ok_or_else(|| invalid(column))
}

fn optional_integer(row: &AnyRow, column: &'static str) -> Result<Option<u64>, String> {
    let value: Option<i64> = row.try_get(column).map_err(|_| invalid(column))?;
    value.map(u64::try_from).transpose().map_err(|_| invalid(column))
}

/// Returns a text that PostgreSQL can store, which means without NUL characters.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn invalid(column: &str) -> String {
    format!("the column `{column}` has a value that is not allowed")
}
