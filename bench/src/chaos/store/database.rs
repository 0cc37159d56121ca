//! The rows of sessions, read from the database and not through the server.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Params};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::postgres::Postgres;
use crate::server::Server;

/// The tables of one server's sessions.
#[derive(Default)]
pub(super) struct Tables {
    /// The rows by session.
    pub(super) sessions: BTreeMap<String, SessionRow>,
    /// The transitions of each session, in order.
    pub(super) events: BTreeMap<String, Vec<EventRow>>,
}

/// A row of the table `sessions`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SessionRow {
    pub(super) id: String,
    pub(super) profile: String,
    pub(super) status: String,
    pub(super) active_connections: u64,
    pub(super) destroy_at: Option<u64>,
    pub(super) updated_at: u64,
    pub(super) exit_code: Option<i64>,
    pub(super) exit_signal: Option<String>,
    pub(super) has_exit: u64,
    pub(super) reason: Option<String>,
    pub(super) last_event: u64,
    pub(super) removed_at: Option<u64>,
}

/// A row of the table `session_events`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct EventRow {
    pub(super) session: String,
    pub(super) number: u64,
    pub(super) at: u64,
    pub(super) event: String,
    pub(super) status: String,
    pub(super) active_connections: u64,
    pub(super) reason: Option<String>,
}

/// The database of a server.
pub(super) enum Database<'a> {
    Sqlite { file: PathBuf },
    Postgres { postgres: &'a Postgres, node: PathBuf },
}

impl<'a> Database<'a> {
    /// Names the database of a server: its file, unless it uses PostgreSQL.
    pub(super) fn of(server: &Server, postgres: Option<&'a Postgres>) -> anyhow::Result<Self> {
        let data = server.data()?;
        Ok(match postgres {
            None => Self::Sqlite { file: data.join("rejoin.db") },
            Some(postgres) => Self::Postgres { postgres, node: data.join("node") },
        })
    }

    /// Reads both tables as they are at one moment.
    pub(super) fn read(&self) -> anyhow::Result<Tables> {
        let (sessions, events) = match self {
            Self::Sqlite { file } => read_sqlite(file)?,
            Self::Postgres { postgres, node } => read_postgres(postgres, node)?,
        };

        let sessions: Vec<SessionRow> = serde_json::from_value(sessions)?;
        let list: Vec<EventRow> = serde_json::from_value(events)?;
        let mut events: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for event in list {
            events.entry(event.session.clone()).or_default().push(event);
        }
        let sessions = sessions.into_iter().map(|row| (row.id.clone(), row)).collect();
        Ok(Tables { sessions, events })
    }
}

fn read_sqlite(file: &Path) -> anyhow::Result<(Value, Value)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    // The first statement of a transaction takes the snapshot that the second one reads.
    let transaction = connection.unchecked_transaction()?;
    let sessions = rows(&transaction, "SELECT * FROM sessions", [])?;
    let events = "SELECT * FROM session_events ORDER BY session, number";
    Ok((sessions, rows(&transaction, events, [])?))
}

/// Returns the rows of a query as objects.
fn rows(connection: &Connection, query: &str, params: impl Params) -> anyhow::Result<Value> {
    let mut statement = connection.prepare(query)?;
    let columns: Vec<_> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut rows = statement.query(params)?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let mut object = Map::new();
        for (index, column) in columns.iter().enumerate() {
            let value = match row.get_ref(index)? {
                ValueRef::Integer(number) => number.into(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
                _ => Value::Null,
            };
            object.insert(column.clone(), value);
        }
        list.push(Value::Object(object));
    }
    Ok(Value::Array(list))
}

fn read_postgres(postgres: &Postgres, node: &Path) -> anyhow::Result<(Value, Value)> {
    let node = fs::read_to_string(node)?;
    let node = node.trim();
    // One statement, because each has a snapshot of its own.
    let text = postgres.query(&format!(
        "SELECT json_build_object(\
           'sessions', (SELECT coalesce(json_agg(s), '[]') FROM sessions s WHERE node = '{node}'), \
           'events', (SELECT coalesce(json_agg(e ORDER BY session, number), '[]') \
                      FROM session_events e WHERE node = '{node}'))"
    ))?;
    let mut tables: Value = serde_json::from_str(&text).context("the rows of PostgreSQL")?;
    Ok((tables["sessions"].take(), tables["events"].take()))
}
