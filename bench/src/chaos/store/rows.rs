//! The comparison of sessions' rows with reality: processes, exits, and the facts of clients.

use std::collections::{BTreeMap, BTreeSet};

use super::database::{EventRow, SessionRow, Tables};
use super::findings::{Finding, Findings};
use super::history;
use super::terminals::{self, Asked, Facts, PROGRAMS, Sessions, Shown};
use crate::chaos::process::{POLL, TIMEOUT, kept_sessions};
use crate::clock;
use crate::http::HttpClient;
use crate::server::Server;

/// A problem of one session.
type Problem = (Finding, String);

/// Reality, as it is outside of the database.
struct Reality {
    /// The sessions whose keepers run.
    running: BTreeSet<String>,
    /// The sessions that the server lists.
    listed: BTreeMap<String, Shown>,
}

/// Compares the tables with reality, until they agree or time is over.
///
/// The server records what it finds after a start in the background, and programs end meanwhile.
pub(super) fn check(
    server: &Server,
    read: impl Fn() -> anyhow::Result<Tables>,
    sessions: &Sessions,
    shown: &[Shown],
    findings: &mut Findings,
) -> anyhow::Result<Tables> {
    let http = HttpClient::new(server.address, server.token()?);
    let due = clock::after(TIMEOUT);
    loop {
        let before = look(server, &http)?;
        let tables = read()?;
        let problems = problems(&tables, &before, sessions, shown);
        if problems.is_empty() {
            return Ok(tables);
        }
        if clock::now() > due {
            problems.iter().for_each(|(finding, problem)| findings.add(*finding, problem));
            return Ok(tables);
        }
        clock::pause(POLL);
    }
}

fn look(server: &Server, http: &HttpClient) -> anyhow::Result<Reality> {
    let running = kept_sessions(&server.data()?.join("terminals"))?;
    let listed = terminals::shown(&http.get("/sessions?limit=1000")?)?;
    let listed = listed.into_iter().map(|shown| (shown.session.clone(), shown)).collect();
    Ok(Reality { running, listed })
}

fn problems(
    tables: &Tables,
    reality: &Reality,
    sessions: &Sessions,
    shown: &[Shown],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |finding: Finding, session: &str, text: String| {
        problems.push((finding, format!("session {session}: {text}")));
    };

    for (id, facts) in sessions {
        if facts.created == Asked::Acknowledged && !tables.sessions.contains_key(id) {
            add(Finding::Lost, id, "acknowledged, and without a row".to_owned());
        }
    }
    for session in reality.running.iter().chain(reality.listed.keys()) {
        let row = tables.sessions.get(session);
        if row.is_none_or(|row| row.removed_at.is_some()) {
            add(Finding::Contradiction, session, format!("it exists, its row is {row:?}"));
        }
    }

    let none = Vec::new();
    for (id, row) in &tables.sessions {
        let events = tables.events.get(id).unwrap_or(&none);
        for problem in history::contradictions(row, events) {
            add(Finding::Contradiction, id, problem);
        }
        if let Some(problem) = contradiction(row, reality, sessions.get(id)) {
            add(Finding::Contradiction, id, format!("{problem}: {row:?}"));
        }
    }
    for state in shown {
        let events = tables.events.get(&state.session).unwrap_or(&none);
        if !is_recorded(state, events, tables.sessions.get(&state.session)) {
            add(Finding::Lost, &state.session, format!("shown, and not recorded: {state:?}"));
        }
    }
    problems
}

/// Returns what contradicts the row of one session.
fn contradiction(
    row: &SessionRow,
    reality: &Reality,
    facts: Option<&Facts>,
) -> Option<&'static str> {
    let is_running = reality.running.contains(&row.id);
    let has_ended = matches!(row.status.as_str(), "terminated" | "error");
    if row.active_connections != 0 {
        return Some("connections without any");
    }
    if !has_ended && (row.status != "idle" || row.destroy_at.is_none()) {
        return Some("an unused session is not idle");
    }
    if has_ended && (is_running || row.destroy_at.is_some()) {
        return Some("an ended session runs, or will end");
    }
    if !has_ended && (!is_running || row.removed_at.is_some() || row.has_exit != 0) {
        return Some("a running session has ended");
    }
    if facts.is_some_and(|facts| facts.closed == Asked::Acknowledged) && row.removed_at.is_none() {
        return Some("a closed session is not removed");
    }

    match reality.listed.get(&row.id) {
        None if row.removed_at.is_none() => return Some("not listed"),
        Some(shown) if shown.status != row.status || shown.exit != exit(row) => {
            return Some("the list differs");
        }
        _ => {}
    }
    (has_ended && !is_expected_end(row, facts)).then_some("another end than the program's")
}

/// Returns whether a row has the end that the program had.
fn is_expected_end(row: &SessionRow, facts: Option<&Facts>) -> bool {
    let program = PROGRAMS.iter().find(|program| program.name == row.profile);
    let code = program.and_then(|program| program.code);
    let signal = row.exit_signal.as_deref();
    let has_reason = row.reason.is_some();
    let by_itself = code.is_some()
        && (row.exit_code, signal) == (code, None)
        && (row.status == "error") == (code != Some(0))
        && (row.status == "error") == has_reason;
    let by_signal = facts.is_some_and(|facts| {
        signal.is_some() && signal == facts.signal && row.status == "error" && has_reason
    });
    // A close hangs up, and kills what ignores that. Its end is no error, unless the server was
    // killed before the end.
    // A signal that was sent before the close may be first.
    let by_close = facts.is_some_and(|facts| {
        facts.closed != Asked::No
            && signal.is_some()
            && (matches!(signal, Some("SIGHUP" | "SIGKILL")) || signal == facts.signal)
    });
    let is_timed_out = |reason: &str| reason.starts_with("no connection was attached for");
    let by_time = program.is_some_and(|program| program.idle_timeout.is_some())
        && row.reason.as_deref().is_some_and(is_timed_out)
        && row.status == "terminated"
        && matches!(signal, Some("SIGHUP" | "SIGKILL"));
    // The server was killed between the row and the start of the program.
    let by_start = facts.is_none_or(|facts| facts.created != Asked::Acknowledged)
        && row.has_exit == 0
        && row.status == "error"
        && has_reason;
    by_itself || by_signal || by_close || by_time || by_start
}

/// Returns whether a state that was shown is in the history.
fn is_recorded(state: &Shown, events: &[EventRow], row: Option<&SessionRow>) -> bool {
    // A server that has just started shows each session as idle, as of its last transition.
    let is_same = |event: &EventRow| {
        event.at == state.updated_at && (event.status == state.status || state.status == "idle")
    };
    let has_exit = state.exit.is_none() || row.is_some_and(|row| exit(row) == state.exit);
    events.iter().any(is_same) && has_exit
}

fn exit(row: &SessionRow) -> Option<(Option<i64>, Option<String>)> {
    (row.has_exit != 0).then(|| (row.exit_code, row.exit_signal.clone()))
}
