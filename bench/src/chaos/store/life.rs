//! Scenario `life`: the row of a session after each step of its life, read from the database.

use anyhow::{Context as _, bail, ensure};
use serde_json::json;

use super::database::{Database, SessionRow, Tables};
use super::history;
use crate::chaos::process::wait_until;
use crate::connection::Connection;
use crate::http::HttpClient;
use crate::postgres::Postgres;
use crate::report::{print_header, print_line};
use crate::server::Server;

const PROFILES: &str = "\
[profiles.exit0]
command = [\"sh\", \"-c\", \"read x; exit 0\"]
[profiles.exit3]
command = [\"sh\", \"-c\", \"read x; exit 3\"]
[profiles.stays]
command = [\"cat\"]
[profiles.times-out]
command = [\"cat\"]
idle_timeout = \"1s\"
[profiles.missing]
command = [\"/missing/program\"]
";

/// A server, and the session whose life is printed.
struct Life<'a> {
    server: Server,
    database: Database<'a>,
    session: String,
    connections: Vec<Connection>,
    /// The number of the last transition that was printed.
    last: u64,
}

/// Prints the lives of five sessions.
///
/// # Errors
/// A row is not what the step makes of it, or a history has an illegal order.
pub(super) fn run(postgres: Option<&Postgres>) -> anyhow::Result<()> {
    let store = postgres
        .map_or_else(String::new, |postgres| format!("[store]\nurl = \"{}\"\n", postgres.url()));
    let server = Server::rejoin(&(store + PROFILES))?;
    let database = Database::of(&server, postgres)?;
    let session = String::new();
    let mut life = Life { server, database, session, connections: Vec::new(), last: 0 };

    print_header(
        "session | step | transition | status | connections | ends in | exit | reason | removed",
    );
    life.with_attachments("exit0")?;
    life.with_attachments("exit3")?;
    life.killed()?;
    life.timed_out()?;
    life.failed_start()
}

impl Life<'_> {
    /// Passes a session through attaches, detaches, a crash of the server and its own exit.
    fn with_attachments(&mut self, profile: &str) -> anyhow::Result<()> {
        self.create(profile)?;
        for _ in 0..3 {
            self.attach()?;
        }
        self.detach()?;
        // The others lose their connections.
        self.connections.clear();
        self.expect("two connections are lost", "detached", 2)?;
        self.attach()?;
        self.server.kill()?;
        self.connections.clear();
        self.server.restart()?;
        self.expect("the server is killed, and starts", "recovered", 1)?;
        self.attach()?;

        let mut connection = self.connections.pop().context("a connection")?;
        connection.request("input", &json!({"session": self.session, "data": "\r"}))?;
        self.expect("the program ends", "ended", 1)?;
        drop(connection);
        self.close()
    }

    fn killed(&mut self) -> anyhow::Result<()> {
        self.create("stays")?;
        let path = format!("/sessions/{}/signal", self.session);
        let (status, body) = self.http()?.post(&path, None, r#"{"signal":"SIGKILL"}"#)?;
        ensure!(status == 204, "{status} {body}");
        self.expect("SIGKILL", "ended", 1)?;
        self.close()
    }

    fn timed_out(&mut self) -> anyhow::Result<()> {
        self.create("times-out")?;
        self.expect("no connection for 1 s", "ended", 1)?;
        self.close()
    }

    fn failed_start(&mut self) -> anyhow::Result<()> {
        "missing".clone_into(&mut self.session);
        let create = json!({"profile": "missing", "id": self.session}).to_string();
        let (status, body) = self.http()?.post("/sessions", None, &create)?;
        ensure!(status == 409, "{status} {body}");
        self.last = 0;
        self.expect("the start of a missing program", "start_failed", 2)
    }

    fn create(&mut self, profile: &str) -> anyhow::Result<()> {
        let create = json!({"profile": profile, "id": profile}).to_string();
        let (status, body) = self.http()?.post("/sessions", None, &create)?;
        ensure!(status == 201, "{status} {body}");
        (self.session, self.last) = (profile.to_owned(), 0);
        self.expect("create", "started", 2)
    }

    fn attach(&mut self) -> anyhow::Result<()> {
        let mut connection = self.server.connect()?;
        connection.request("attach", &json!({"session": self.session}))?;
        self.connections.push(connection);
        self.expect("attach", "attached", 1)
    }

    fn detach(&mut self) -> anyhow::Result<()> {
        let mut connection = self.connections.pop().context("a connection")?;
        connection.request("detach", &json!({"session": self.session}))?;
        self.expect("detach", "detached", 1)
    }

    fn close(&mut self) -> anyhow::Result<()> {
        self.http()?.delete(&format!("/sessions/{}", self.session))?;
        self.expect("delete", "removed", 1)
    }

    /// Waits until the row has so many further transitions, and prints it.
    fn expect(&mut self, step: &str, event: &str, count: u64) -> anyhow::Result<()> {
        self.last += count;
        let mut tables = Tables::default();
        wait_until(step, || {
            tables = self.database.read().unwrap_or_default();
            tables.sessions.get(&self.session).is_some_and(|row| row.last_event >= self.last)
        })?;

        let row = &tables.sessions[&self.session];
        let events = &tables.events[&self.session];
        let problems = history::contradictions(row, events);
        ensure!(problems.is_empty(), "{step}: {problems:?}");
        let last = events.last().context("no transition")?;
        if last.event != event || last.number != self.last {
            bail!("{step}: the last transition is {last:?}");
        }
        print_line(format_args!(
            "{} | {step} | {} `{event}` | {}",
            row.id,
            last.number,
            cells(row)
        ));
        Ok(())
    }

    fn http(&self) -> anyhow::Result<HttpClient> {
        Ok(HttpClient::new(self.server.address, self.server.token()?))
    }
}

/// Returns the cells of a row.
fn cells(row: &SessionRow) -> String {
    let ends_in = row.destroy_at.map_or_else(
        || "–".to_owned(),
        |at| format!("{} s", at.saturating_sub(row.updated_at).div_ceil(1000)),
    );
    let exit = match (&row.exit_code, &row.exit_signal) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => signal.clone(),
        (None, None) => "–".to_owned(),
    };
    format!(
        "{} | {} | {ends_in} | {exit} | {} | {}",
        row.status,
        row.active_connections,
        row.reason.as_deref().unwrap_or("–"),
        if row.removed_at.is_some() { "yes" } else { "no" },
    )
}
