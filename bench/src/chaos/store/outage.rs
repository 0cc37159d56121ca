//! Scenario `outage`: PostgreSQL is stopped for a while, under keys, attaches, detaches and exits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use rejoin_protocol::StreamNumber;
use rejoin_protocol::binary::{BinaryHeader, BinaryKind};
use serde_json::json;

use super::database::{Database, EventRow, Tables};
use super::history;
use crate::chaos::process::wait_until;
use crate::clock;
use crate::connection::Connection;
use crate::frame;
use crate::http::HttpClient;
use crate::postgres::Postgres;
use crate::report::{latencies, print_header, print_line, quantile};
use crate::server::{Server, profile};

/// The time before and after the outage.
const AROUND: Duration = Duration::from_secs(15);
/// The time between two keys.
const KEY_PAUSE: Duration = Duration::from_millis(20);
/// Clients that attach and detach, each with a session of its own.
const VISITORS: usize = 6;
/// The pause between an attach and a detach. The history of a session retains 1000 transitions.
const VISIT: Duration = Duration::from_millis(150);
/// Programs that end during the outage.
const EXITS: usize = 5;
const EXIT_CODE: i64 = 3;
const PHASES: [&str; 3] = ["before", "during", "after"];
/// The phase number after the last phase.
const END: usize = PHASES.len();

/// The load of one run, by phase.
struct Load<'a> {
    server: &'a Server,
    phase: AtomicUsize,
}

/// The attaches and detaches that were acknowledged, by phase.
type Visits = [[u64; 2]; PHASES.len()];

/// Stops PostgreSQL for so long, and prints the latency of keys around it.
///
/// # Errors
/// A transition is missing afterwards.
pub(super) fn run(outage: Duration) -> anyhow::Result<()> {
    let postgres = Postgres::start()?;
    let waits =
        format!("[profiles.waits]\ncommand = [\"sh\", \"-c\", \"read x; exit {EXIT_CODE}\"]\n");
    let profiles = profile("echo", &["echo-program"])? + &waits;
    let server = Server::rejoin(&format!("[store]\nurl = \"{}\"\n{profiles}", postgres.url()))?;
    let database = Database::of(&server, Some(&postgres))?;
    let mut creator = server.connect()?;
    let mut create = |profile: &str| {
        let session = creator.create_terminal(profile, (80, 24))?;
        session.as_str().map(str::to_owned).context("no session")
    };
    let typed = create("echo")?;
    let visited = (0..VISITORS).map(|_| create("waits")).collect::<anyhow::Result<Vec<_>>>()?;
    let exits = (0..EXITS).map(|_| create("waits")).collect::<anyhow::Result<Vec<_>>>()?;

    let load = Load { server: &server, phase: AtomicUsize::new(0) };
    let (keys, visits, refused) = thread::scope(|scope| {
        let typist = scope.spawn(|| load.type_keys(&typed));
        let visitors: Vec<_> =
            visited.iter().map(|session| scope.spawn(|| load.visit(session))).collect();
        let outcome = load.pass_phases(&postgres, outage, &exits);
        // Also after an error, so that the clients end.
        load.phase.store(END, Ordering::Release);
        let keys = typist.join().ok().context("the typist panicked")??;
        let join = |visitor: thread::ScopedJoinHandle<'_, anyhow::Result<Visits>>| {
            visitor.join().ok().context("a visitor panicked")?
        };
        let visits = visitors.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()?;
        anyhow::Ok((keys, visits, outcome?))
    })?;

    print_header("PostgreSQL | keys | key to echo p50 | p99 | max | attaches and detaches");
    for (phase, name) in PHASES.iter().enumerate() {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| quantile(&keys[phase], part));
        let count: u64 = visits.iter().flat_map(|visits| visits[phase]).sum();
        print_line(format_args!(
            "{name} | {} | {p50} | {p99} | {max} | {count}",
            keys[phase].len()
        ));
    }
    check(&database, &visited, &visits, &exits)?;
    let total: u64 = visits.iter().flatten().flatten().sum();
    print_line(format_args!(
        "\nstopped for {} s; a new session meanwhile: {refused}; afterwards {total} of {total} attaches \
         and detaches and {EXITS} of {EXITS} exits are in the histories",
        outage.as_secs()
    ));
    Ok(())
}

impl Load<'_> {
    /// Stops and starts PostgreSQL. Returns the answer to a request for a session meanwhile.
    fn pass_phases(
        &self,
        postgres: &Postgres,
        outage: Duration,
        exits: &[String],
    ) -> anyhow::Result<String> {
        let http = HttpClient::new(self.server.address, self.server.token()?);
        clock::pause(AROUND);
        postgres.stop()?;
        self.phase.store(1, Ordering::Release);
        let due = clock::after(outage);

        for session in exits {
            let input = json!({"data": "\r"}).to_string();
            let (status, body) = http.post(&format!("/sessions/{session}/input"), None, &input)?;
            ensure!(status < 300, "input: {status} {body}");
        }
        // The answer takes as long as the server waits for its store.
        let mut connection = self.server.connect()?;
        let created = connection.create_terminal("waits", (80, 24));
        let refused = created.err().context("a session was created without a store")?.to_string();
        ensure!(refused.contains("overloaded"), "{refused}");

        clock::pause(clock::until(due, outage));
        postgres.start_again()?;
        self.phase.store(2, Ordering::Release);
        clock::pause(AROUND);
        Ok("`overloaded`".to_owned())
    }

    fn phase(&self) -> usize {
        self.phase.load(Ordering::Acquire)
    }

    /// Types until the end. Returns the times from each key to its echo, by phase.
    fn type_keys(&self, session: &str) -> anyhow::Result<[Histogram<u64>; PHASES.len()]> {
        let mut connection = self.server.connect()?;
        let attached = connection.request("attach", &json!({"session": session}))?;
        let stream: StreamNumber = serde_json::from_value(attached["stream"].clone())?;
        connection.wait_for_output(b"READY")?;

        let mut times = [latencies()?, latencies()?, latencies()?];
        for key in (b'a'..=b'z').cycle() {
            let phase = self.phase();
            let Some(times) = times.get_mut(phase) else { break };
            let mut input = BinaryHeader { kind: BinaryKind::Input, stream, offset: 0 }.to_bytes();
            input.push(key);
            let sent = clock::now();
            connection.send(frame::BINARY, &input)?;
            let echoed = connection.wait_for(|frame| {
                let (head, data) = BinaryHeader::read(frame.payload()).ok()?;
                let is_echo = head.kind == BinaryKind::Output && data == [key];
                (frame.opcode == frame::BINARY && is_echo).then_some(frame.time)
            })?;
            times.saturating_record(echoed.saturating_sub(sent));
            clock::pause(KEY_PAUSE);
        }
        Ok(times)
    }

    /// Attaches and detaches until the end, in turn.
    fn visit(&self, session: &str) -> anyhow::Result<Visits> {
        let mut connection: Connection = self.server.connect()?;
        let payload = json!({"session": session, "role": "viewer"});
        let mut visits = Visits::default();
        loop {
            let phase = self.phase();
            let Some(visits) = visits.get_mut(phase) else { break };
            for (count, kind) in visits.iter_mut().zip(["attach", "detach"]) {
                connection.request(kind, &payload)?;
                *count += 1;
                clock::pause(VISIT);
            }
        }
        Ok(visits)
    }
}

/// Waits until the histories have all transitions, and checks their order.
fn check(
    database: &Database<'_>,
    visited: &[String],
    visits: &[Visits],
    exits: &[String],
) -> anyhow::Result<()> {
    let mut tables = Tables::default();
    let count = |tables: &Tables, session: &str, name: &str| {
        let is_named = |event: &&EventRow| event.event == name;
        tables.events.get(session).map_or(0, |events| events.iter().filter(is_named).count())
    };
    let outcome = wait_until("all transitions are stored", || {
        let Ok(read) = database.read() else { return false };
        tables = read;
        let is_stored = |(session, visits): (&String, &Visits)| {
            let sum = |index: usize| visits.iter().map(|visits| visits[index]).sum::<u64>();
            count(&tables, session, "attached") as u64 == sum(0)
                && count(&tables, session, "detached") as u64 == sum(1)
        };
        visited.iter().zip(visits).all(is_stored)
            && exits.iter().all(|session| {
                tables.sessions.get(session).is_some_and(|row| row.exit_code == Some(EXIT_CODE))
            })
    });
    for (session, row) in &tables.sessions {
        let problems = history::contradictions(row, &tables.events[session]);
        ensure!(problems.is_empty(), "session {session}: {problems:?}");
    }
    outcome
}
