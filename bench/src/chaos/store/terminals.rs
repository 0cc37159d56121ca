//! Clients that create, attach, detach, signal and close terminals until the server is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use fastrand::Rng;
use serde_json::{Value, json};

use crate::clock;
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::http::HttpClient;
use crate::server::Server;

/// Sessions that one client creates in a run.
const MAX_SESSIONS: usize = 6;
/// Connections of one client, each with at most one attachment.
const CONNECTIONS: usize = 3;
/// The pause between two steps of a client.
const PAUSE_MS: u64 = 12;
/// The time between two lists of the watcher.
const LIST: Duration = Duration::from_millis(8);
/// The signals that end a program.
const SIGNALS: [&str; 3] = ["SIGTERM", "SIGKILL", "SIGHUP"];

/// A program: the name of its profile, its script, and its exit code if it ends by itself.
pub(super) struct Program {
    pub(super) name: &'static str,
    script: &'static str,
    pub(super) code: Option<i64>,
    /// The idle time-out, if it is not the default.
    pub(super) idle_timeout: Option<&'static str>,
}

/// The programs. Some end while no server runs.
pub(super) const PROGRAMS: [Program; 7] = [
    ends("exit0", "sleep 0.1; exit 0", 0),
    ends("exit3", "sleep 0.3; exit 3", 3),
    ends("late0", "sleep 0.8; exit 0", 0),
    ends("late3", "sleep 0.6; exit 3", 3),
    Program { name: "stays", script: "exec cat", code: None, idle_timeout: None },
    Program { name: "idles", script: "exec cat", code: None, idle_timeout: Some("1s") },
    ends("on-file", "while [ ! -e go ]; do sleep 0.02; done; exit 3", 3),
];
/// The programs that clients start, which are the first ones.
const RANDOM_PROGRAMS: usize = 6;

const fn ends(name: &'static str, script: &'static str, code: i64) -> Program {
    Program { name, script, code: Some(code), idle_timeout: None }
}

/// Returns the sections of the profiles.
pub(super) fn profiles() -> String {
    let section = |program: &Program| {
        let Program { name, script, idle_timeout, .. } = program;
        let idle_timeout =
            idle_timeout.map_or_else(String::new, |time| format!("idle_timeout = \"{time}\"\n"));
        format!("[profiles.{name}]\ncommand = [\"sh\", \"-c\", '{script}']\n{idle_timeout}")
    };
    PROGRAMS.iter().map(section).collect()
}

/// An effect that a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    No,
    /// The server did not answer: it may have happened.
    Sent,
    Acknowledged,
}

/// The facts about one session that its clients know.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) created: Asked,
    pub(super) closed: Asked,
    /// The signal that was sent to its program.
    pub(super) signal: Option<&'static str>,
}

/// A state of a session that the server has shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shown {
    pub(super) session: String,
    pub(super) status: String,
    pub(super) updated_at: u64,
    pub(super) exit: Option<(Option<i64>, Option<String>)>,
}

/// The facts by session.
pub(super) type Sessions = BTreeMap<String, Facts>;

/// A client of terminals.
pub(super) struct User<'a> {
    endpoint: Endpoint,
    http: HttpClient,
    random: Rng,
    /// The start of the ids of its sessions.
    prefix: String,
    /// Set before the server is killed: a lost connection is expected from then on.
    is_killing: &'a AtomicBool,
    sessions: Sessions,
    /// The running sessions of programs that stay, and the attached session of each connection.
    running: Vec<String>,
    connections: Vec<(Connection, Option<String>)>,
}

/// The end of a request.
enum Outcome<T> {
    Done(T),
    /// The server is gone.
    Lost,
}

impl<'a> User<'a> {
    pub(super) fn new(
        server: &Server,
        prefix: String,
        seed: u64,
        is_killing: &'a AtomicBool,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            endpoint: server.endpoint("/ws"),
            http: HttpClient::new(server.address, server.token()?),
            random: Rng::with_seed(seed),
            prefix,
            is_killing,
            sessions: Sessions::new(),
            running: Vec::new(),
            connections: Vec::new(),
        })
    }

    /// Uses terminals until the server is gone. Returns the facts.
    ///
    /// # Errors
    /// The server refuses what it must not, or is gone before it is killed.
    pub(super) fn run(mut self) -> anyhow::Result<Sessions> {
        while let Outcome::Done(()) = self.step()? {
            clock::pause(Duration::from_millis(self.random.u64(..PAUSE_MS)));
        }
        ensure!(self.is_killing.load(Ordering::Acquire), "the server is gone before the kill");
        Ok(self.sessions)
    }

    fn step(&mut self) -> anyhow::Result<Outcome<()>> {
        match self.random.u8(..10) {
            0..3 if self.sessions.len() < MAX_SESSIONS => self.create(),
            3..7 => self.attach_or_detach(),
            7 => self.connect_or_leave(),
            8 => self.signal(),
            9 => self.close(),
            _ => Ok(Outcome::Done(())),
        }
    }

    fn create(&mut self) -> anyhow::Result<Outcome<()>> {
        let id = format!("{}-{}", self.prefix, self.sessions.len());
        let program = &PROGRAMS[self.random.usize(..RANDOM_PROGRAMS)];
        let facts = Facts { created: Asked::Sent, closed: Asked::No, signal: None };
        self.sessions.insert(id.clone(), facts);
        let create = json!({"id": id, "profile": program.name}).to_string();
        let Outcome::Done(()) = self.post("/sessions", &create, &[201])? else {
            return Ok(Outcome::Lost);
        };

        self.facts(&id)?.created = Asked::Acknowledged;
        self.running.push(id);
        Ok(Outcome::Done(()))
    }

    /// Changes the attachment of a connection to another session, or ends it.
    fn attach_or_detach(&mut self) -> anyhow::Result<Outcome<()>> {
        let (sessions, count) = (&self.running, self.connections.len());
        if sessions.is_empty() || count == 0 {
            return self.connect_or_leave();
        }
        let session = sessions[self.random.usize(..sessions.len())].clone();
        let (connection, attached) = &mut self.connections[self.random.usize(..count)];
        let (kind, session) = match attached.take() {
            Some(attached) => ("detach", attached),
            None => ("attach", session),
        };
        let role = if self.random.bool() { "viewer" } else { "writer" };
        match connection.request(kind, &json!({"session": session, "role": role})) {
            Ok(_) if kind == "attach" => *attached = Some(session),
            Ok(_) => {}
            Err(_) if connection.has_ended() || self.is_killing.load(Ordering::Acquire) => {
                return Ok(Outcome::Lost);
            }
            // The session was closed by this client, or has ended meanwhile.
            Err(error) if is_about_the_end(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(Outcome::Done(()))
    }

    /// Opens a connection, or drops one with its attachment.
    fn connect_or_leave(&mut self) -> anyhow::Result<Outcome<()>> {
        if self.connections.len() >= CONNECTIONS {
            self.connections.swap_remove(self.random.usize(..CONNECTIONS));
            return Ok(Outcome::Done(()));
        }
        match Connection::open(&self.endpoint) {
            Ok(connection) => self.connections.push((connection, None)),
            Err(_) if self.is_killing.load(Ordering::Acquire) => return Ok(Outcome::Lost),
            Err(error) => return Err(error),
        }
        Ok(Outcome::Done(()))
    }

    fn signal(&mut self) -> anyhow::Result<Outcome<()>> {
        let Some(session) = self.pick() else { return Ok(Outcome::Done(())) };
        let signal = SIGNALS[self.random.usize(..SIGNALS.len())];
        let facts = self.facts(&session)?;
        // One signal only, so that the expected exit is known.
        if facts.signal.is_some() {
            return Ok(Outcome::Done(()));
        }
        facts.signal = Some(signal);
        let body = json!({"signal": signal}).to_string();
        // 409: the program has ended.
        self.post(&format!("/sessions/{session}/signal"), &body, &[204, 409])
    }

    fn close(&mut self) -> anyhow::Result<Outcome<()>> {
        // Half of the time, so that sessions are left for the checker.
        let Some(session) = self.pick().filter(|_| self.random.bool()) else {
            return Ok(Outcome::Done(()));
        };
        self.running.retain(|running| *running != session);
        self.facts(&session)?.closed = Asked::Sent;
        match self.http.delete(&format!("/sessions/{session}")) {
            Ok(()) => self.facts(&session)?.closed = Asked::Acknowledged,
            Err(_) if self.is_killing.load(Ordering::Acquire) => return Ok(Outcome::Lost),
            Err(error) => return Err(error.context("close")),
        }
        Ok(Outcome::Done(()))
    }

    fn pick(&mut self) -> Option<String> {
        let count = self.running.len();
        (count > 0).then(|| self.running[self.random.usize(..count)].clone())
    }

    fn facts(&mut self, session: &str) -> anyhow::Result<&mut Facts> {
        self.sessions.get_mut(session).context("an unknown session")
    }

    fn post(&self, path: &str, body: &str, allowed: &[u16]) -> anyhow::Result<Outcome<()>> {
        match self.http.post(path, None, body) {
            Ok((status, _)) if allowed.contains(&status) => Ok(Outcome::Done(())),
            // A server that stops refuses until it is gone.
            Ok((503, _)) if self.is_killing.load(Ordering::Acquire) => Ok(Outcome::Lost),
            Ok((status, body)) => bail!("{path}: {status} {body}"),
            Err(_) => Ok(Outcome::Lost),
        }
    }
}

fn is_about_the_end(error: &anyhow::Error) -> bool {
    let text = error.to_string();
    ["unknown_session", "not_attached", "session_ended"].iter().any(|code| text.contains(code))
}

/// Lists sessions until the server is gone. Returns each state that was shown.
pub(super) fn watch(http: &HttpClient) -> anyhow::Result<Vec<Shown>> {
    let mut all = BTreeSet::new();
    while let Ok(page) = http.get("/sessions?limit=1000") {
        all.extend(shown(&page)?);
        clock::pause(LIST);
    }
    Ok(all.into_iter().collect())
}

/// Returns the states of a page of sessions.
pub(super) fn shown(page: &str) -> anyhow::Result<Vec<Shown>> {
    let page: Value = serde_json::from_str(page)?;
    let read = |session: &Value| {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let exit = &session["exit"];
        Some(Shown {
            session: text(&session["id"])?,
            status: text(&session["status"])?,
            updated_at: session["updated_at"].as_u64()?,
            exit: exit.is_object().then(|| (exit["code"].as_i64(), text(&exit["signal"]))),
        })
    };
    let sessions = page["sessions"].as_array().context("no sessions")?;
    sessions.iter().map(|session| read(session).context("an incomplete session")).collect()
}
