//! One data directory and its server, which is killed under load and compared again and again.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use fastrand::Rng;

use super::database::Database;
use super::findings::Findings;
use super::messages::{self, EVENTS, LASTING, Load, Messages, PLAIN, topic_of};
use super::publishers::{Publisher, Way};
use super::rows;
use super::terminals::{self, Asked, Sessions, Shown, User};
use crate::clock;
use crate::http::HttpClient;
use crate::postgres::Postgres;
use crate::server::Server;

/// The time of the load before a kill, in milliseconds.
const LOAD_MS: Range<u64> = 150..900;
/// Clients of terminals.
const USERS: u64 = 2;
/// Sessions that stay for the next run.
const LASTING_SESSIONS: usize = 3;
/// The longest times between a signal to stop, or a start, and the kill, in milliseconds.
const STOP_MS: u64 = 400;
const START_MS: u64 = 150;

/// The moment of a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    UnderLoad,
    /// The server was asked to stop under load.
    DuringStop,
    /// Under load, and the next server before it serves.
    AlsoDuringStart,
}

/// The kills to choose from.
const KILLS: [Kill; 4] =
    [Kill::UnderLoad, Kill::UnderLoad, Kill::DuringStop, Kill::AlsoDuringStart];

/// The figures of all runs.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) acknowledged: u64,
    pub(super) retried: u64,
    pub(super) sessions: usize,
    pub(super) shown: usize,
    pub(super) findings: Findings,
    /// The nanoseconds from each start of a server until it serves.
    pub(super) recoveries: Vec<u64>,
}

/// A server that is killed, and all that is known about it.
pub(super) struct Crash<'a> {
    server: Server,
    database: Database<'a>,
    random: Rng,
    has_events: bool,
    messages: Messages,
    sessions: Sessions,
    shown: Vec<Shown>,
}

impl<'a> Crash<'a> {
    /// Starts a server with a fresh data directory.
    pub(super) fn start(
        seed: u64,
        postgres: Option<&'a Postgres>,
        has_events: bool,
    ) -> anyhow::Result<Self> {
        let store = postgres.map_or_else(String::new, |postgres| {
            format!("[store]\nurl = \"{}\"\n", postgres.url())
        });
        let server = Server::rejoin(&(store + &messages::topics() + &terminals::profiles()))?;
        let database = Database::of(&server, postgres)?;
        Ok(Self {
            server,
            database,
            random: Rng::with_seed(seed),
            has_events,
            messages: Messages::default(),
            sessions: Sessions::new(),
            shown: Vec::new(),
        })
    }

    /// Kills the server so often, and compares after each start.
    ///
    /// # Errors
    /// A client or the server fails in a way that a crash does not explain.
    pub(super) fn run(mut self, runs: u64, totals: &mut Totals) -> anyhow::Result<()> {
        for run in 0..runs {
            let kill = KILLS[self.random.usize(..KILLS.len())];
            let load = self.load(run, kill, &mut totals.findings);
            let load = load.with_context(|| format!("run {run}:\n{}", self.log_end()))?;
            if kill == Kill::AlsoDuringStart {
                self.server.crash_start(Duration::from_millis(self.random.u64(..START_MS)))?;
            }
            let started = clock::now();
            self.server.restart()?;
            totals.recoveries.push(clock::now() - started);

            let checked = self.check(&load, totals);
            checked.with_context(|| format!("after run {run}:\n{}", self.log_end()))?;
        }

        self.messages.check_topics(&self.server, runs, &mut totals.findings)?;
        totals.acknowledged += self.messages.acknowledged();
        totals.sessions += self.sessions.len();
        totals.shown += self.shown.len();
        Ok(())
    }

    /// Runs the clients until the server is killed.
    fn load(&mut self, run: u64, kill: Kill, findings: &mut Findings) -> anyhow::Result<Load> {
        let is_killing = AtomicBool::new(false);
        let subscribers = self.messages.subscribe(&self.server, &self.streams(run), findings)?;
        let publishers = self.publishers(run, &is_killing);
        let users = (0..USERS).map(|number| {
            let prefix = format!("s-{run}-{number}");
            User::new(&self.server, prefix, self.random.u64(..), &is_killing)
        });
        let users = users.collect::<anyhow::Result<Vec<_>>>()?;
        let (http, seed) = (self.http()?, self.random.u64(..));
        let pause = Duration::from_millis(self.random.u64(LOAD_MS));

        thread::scope(|scope| {
            let received: Vec<_> = subscribers
                .into_iter()
                .map(|subscriber| {
                    let (stream, start) = (subscriber.stream.clone(), subscriber.start.position);
                    (stream, start, scope.spawn(|| subscriber.follow()))
                })
                .collect();
            let sent = publishers.iter().zip(seed..);
            let sent: Vec<_> = sent
                .map(|(publisher, seed)| scope.spawn(move || publisher.run(Rng::with_seed(seed))))
                .collect();
            let users: Vec<_> = users.into_iter().map(|user| scope.spawn(|| user.run())).collect();
            let shown = scope.spawn(|| terminals::watch(&http));

            clock::pause(pause);
            is_killing.store(true, Ordering::Release);
            if kill == Kill::DuringStop {
                self.server.terminate()?;
                clock::pause(Duration::from_millis(self.random.u64(..STOP_MS)));
            }
            self.server.kill()?;

            for user in users {
                self.sessions.extend(join(user).context("terminals")?);
            }
            self.shown.extend(join(shown).context("the watcher")?);
            let sent: Vec<_> = sent.into_iter().map(join).collect::<anyhow::Result<_>>()?;
            let received = received.into_iter().map(|(stream, start, thread)| {
                let received = join(thread).with_context(|| stream.clone())?;
                anyhow::Ok((stream, start, received))
            });
            let received = received.collect::<anyhow::Result<_>>()?;
            Ok(Load { is_stopped: kill == Kill::DuringStop, sent: sent.concat(), received })
        })
    }

    /// Returns the streams of a run.
    fn streams(&self, run: u64) -> Vec<String> {
        let mut streams = vec![topic_of(run), LASTING.to_owned(), PLAIN.to_owned()];
        if self.has_events {
            streams.extend(EVENTS.map(|(stream, _)| stream.to_owned()));
        }
        streams
    }

    fn publishers<'b>(&self, run: u64, is_killing: &'b AtomicBool) -> Vec<Publisher<'b>> {
        let topic = topic_of(run);
        let mut publishers = vec![
            (Way::Socket, topic.as_str()),
            (Way::SocketKey, &topic),
            (Way::HttpHeader, &topic),
            (Way::HttpKey, &topic),
            (Way::Socket, LASTING),
            (Way::SocketKey, LASTING),
            (Way::Socket, PLAIN),
        ];
        if self.has_events {
            publishers.extend(EVENTS.map(|(stream, way)| (way, stream)));
        }
        let publishers = publishers.into_iter().enumerate();
        let publisher = |(number, (way, stream)): (usize, (Way, &str))| Publisher {
            way,
            stream: stream.to_owned(),
            prefix: format!("{run}-{number}"),
            endpoint: self.server.endpoint("/ws"),
            is_killing,
        };
        publishers.map(publisher).collect()
    }

    fn check(&mut self, load: &Load, totals: &mut Totals) -> anyhow::Result<()> {
        totals.retried += self.messages.check(&self.server, load, &mut totals.findings)?;
        self.check_sessions(&mut totals.findings)
    }

    /// Compares the rows with reality, and closes most sessions.
    fn check_sessions(&mut self, findings: &mut Findings) -> anyhow::Result<()> {
        let read = || self.database.read();
        let tables = rows::check(&self.server, read, &self.sessions, &self.shown, findings)?;

        let http = self.http()?;
        let mut left: Vec<_> =
            tables.sessions.values().filter(|row| row.removed_at.is_none()).collect();
        self.random.shuffle(&mut left);
        for row in left.iter().skip(LASTING_SESSIONS) {
            http.delete(&format!("/sessions/{}", row.id)).context("close a session")?;
            if let Some(facts) = self.sessions.get_mut(&row.id) {
                facts.closed = Asked::Acknowledged;
            }
        }
        Ok(())
    }

    fn http(&self) -> anyhow::Result<HttpClient> {
        Ok(HttpClient::new(self.server.address, self.server.token()?))
    }

    fn log_end(&self) -> String {
        let log = self.server.log();
        let lines: Vec<_> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

fn join<T>(thread: ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().ok().context("a client panicked")?
}
