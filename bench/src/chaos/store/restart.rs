//! Scenario `restart`: 100 sessions in all states, before and after a stop and a crash.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::database::{Database, SessionRow};
use super::findings::Findings;
use super::rows;
use super::terminals::{self, Asked, Facts, Sessions};
use crate::chaos::process::wait_until;
use crate::connection::Connection;
use crate::http::HttpClient;
use crate::machine;
use crate::postgres::Postgres;
use crate::report::{print_header, print_line};
use crate::server::{self, Server};

/// The connection limit of the server, and the open files that it needs with 100 terminals.
const CONNECTIONS: usize = 64;
const OPEN_FILES: u64 = 1000;
const STOP: Duration = Duration::from_secs(30);
/// A program that does not exist.
const MISSING: &str = "[profiles.missing]\ncommand = [\"/missing/program\"]\n";

/// Sessions in the same state.
struct Group {
    name: &'static str,
    profile: &'static str,
    count: usize,
    /// The attached connections at the restart.
    attached: usize,
    /// The change that makes the state.
    then: Then,
    /// The rows before and after.
    before: &'static str,
    after: &'static str,
}

/// A change of a session after its creation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    Detach,
    Terminate,
    Close,
}

/// The groups, of 100 sessions in all.
const GROUPS: [Group; 11] = [
    group("attached by one", "stays", 14).attached(1, "active, 1 attached"),
    group("attached by three", "stays", 6).attached(3, "active, 3 attached"),
    group("never attached", "stays", 20),
    group("detached", "stays", 10).then(Then::Detach, "idle"),
    group("ended with 0", "exit0", 10).ended("terminated, 0"),
    group("ended with 3", "exit3", 10).ended("error, 3"),
    group("ended by SIGTERM", "stays", 8).then(Then::Terminate, "error, SIGTERM"),
    group("timed out", "idles", 6).ended("terminated, SIGHUP"),
    group("closed", "stays", 6).then(Then::Close, "terminated, SIGHUP, removed"),
    group("failed to start", "missing", 4).ended("error, removed"),
    group("ends without a server", "on-file", 6).after("error, 3"),
];

const fn group(name: &'static str, profile: &'static str, count: usize) -> Group {
    let (before, after) = ("idle", "idle");
    Group { name, profile, count, attached: 0, then: Then::Nothing, before, after }
}

impl Group {
    const fn attached(self, attached: usize, before: &'static str) -> Self {
        Self { attached, before, ..self }
    }

    const fn then(self, then: Then, row: &'static str) -> Self {
        Self { then, before: row, after: row, ..self }
    }

    const fn ended(self, row: &'static str) -> Self {
        Self { before: row, after: row, ..self }
    }

    const fn after(self, after: &'static str) -> Self {
        Self { after, ..self }
    }
}

/// The end of the first server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Term,
    Kill,
}

/// Restarts a server in both ways, and prints the rows before and after.
///
/// # Errors
/// A row is not as expected, or contradicts reality.
pub(super) fn run(postgres: Option<&Postgres>) -> anyhow::Result<()> {
    print_header("end | sessions | group | rows before | rows after");
    [End::Term, End::Kill].into_iter().try_for_each(|end| restart(postgres, end))
}

fn restart(postgres: Option<&Postgres>, end: End) -> anyhow::Result<()> {
    let store = postgres
        .map_or_else(String::new, |postgres| format!("[store]\nurl = \"{}\"\n", postgres.url()));
    machine::allow_open_files(OPEN_FILES)?;
    // Few connections: each takes a file descriptor that a terminal could have.
    let limits = server::limits_of(CONNECTIONS);
    let settings = store + MISSING + &terminals::profiles();
    let mut server = Server::rejoin_limited(&limits, &settings)?;
    let database = Database::of(&server, postgres)?;
    let (mut sessions, mut connections) = (Sessions::new(), Vec::new());
    for (number, group) in GROUPS.iter().enumerate() {
        for index in 0..group.count {
            let id = format!("s-{number}-{index}");
            sessions.insert(id.clone(), create(&server, group, &id, &mut connections)?);
        }
    }

    let mut before = BTreeMap::new();
    wait_until("all sessions are in their state", || {
        before = database.read().map(|tables| tables.sessions).unwrap_or_default();
        let is_expected = |(number, group): (usize, &Group)| {
            let mut rows = rows_of(&before, number);
            rows.all(|row| describe(row) == group.before)
        };
        before.len() == sessions.len() && GROUPS.iter().enumerate().all(is_expected)
    })
    .with_context(|| list(&before))?;

    match end {
        End::Term => {
            server.terminate()?;
            server.wait(STOP)?.context("the server does not stop")?;
        }
        End::Kill => server.kill()?,
    }
    drop(connections);
    fs::write(server.folder()?.join("go"), "")?;
    server.restart()?;

    let mut findings = Findings::default();
    let tables = rows::check(&server, || database.read(), &sessions, &[], &mut findings)?;
    let name = if end == End::Term { "SIGTERM" } else { "kill -9" };
    for (number, group) in GROUPS.iter().enumerate() {
        let Group { name: group_name, count, before, after, .. } = group;
        let is_expected = rows_of(&tables.sessions, number).all(|row| describe(row) == *after);
        ensure!(is_expected, "{name}: {group_name}\n{}", list(&tables.sessions));
        print_line(format_args!("{name} | {count} | {group_name} | {before} | {after}"));
    }
    ensure!(findings.total() == 0, "{} rows contradict reality", findings.total());
    Ok(())
}

/// Starts a session and brings it into the state of its group.
fn create(
    server: &Server,
    group: &Group,
    id: &str,
    connections: &mut Vec<Connection>,
) -> anyhow::Result<Facts> {
    let http = HttpClient::new(server.address, server.token()?);
    let mut facts = Facts { created: Asked::Acknowledged, closed: Asked::No, signal: None };
    let create = json!({"id": id, "profile": group.profile, "cwd": server.folder()?});
    let (status, body) = http.post("/sessions", None, &create.to_string())?;
    if group.profile == "missing" {
        ensure!(status == 409, "a missing program: {status} {body}");
        facts.created = Asked::Sent;
        return Ok(facts);
    }
    ensure!(status == 201, "{status} {body}");

    let attach = json!({"session": id});
    for _ in 0..group.attached {
        let mut connection = server.connect()?;
        connection.request("attach", &attach)?;
        connections.push(connection);
    }
    match group.then {
        Then::Nothing => {}
        Then::Detach => {
            let mut connection = server.connect()?;
            connection.request("attach", &attach)?;
            connection.request("detach", &attach)?;
        }
        Then::Terminate => {
            facts.signal = Some("SIGTERM");
            let path = format!("/sessions/{id}/signal");
            let (status, body) = http.post(&path, None, r#"{"signal":"SIGTERM"}"#)?;
            ensure!(status == 204, "{status} {body}");
        }
        Then::Close => {
            facts.closed = Asked::Acknowledged;
            http.delete(&format!("/sessions/{id}"))?;
        }
    }
    Ok(facts)
}

/// Returns a line per row.
fn list(rows: &BTreeMap<String, SessionRow>) -> String {
    let line = |row: &SessionRow| format!("{}: {}\n", row.id, describe(row));
    rows.values().map(line).collect()
}

/// Returns the rows of a group.
fn rows_of(rows: &BTreeMap<String, SessionRow>, group: usize) -> impl Iterator<Item = &SessionRow> {
    let prefix = format!("s-{group}-");
    rows.values().filter(move |row| row.id.starts_with(&prefix))
}

fn describe(row: &SessionRow) -> String {
    let mut text = row.status.clone();
    if row.active_connections > 0 {
        text += &format!(", {} attached", row.active_connections);
    }
    if let Some(code) = row.exit_code {
        text += &format!(", {code}");
    }
    if let Some(signal) = &row.exit_signal {
        text += &format!(", {signal}");
    }
    if row.removed_at.is_some() {
        text += ", removed";
    }
    text
}
