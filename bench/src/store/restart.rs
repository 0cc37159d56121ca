//! Many ended sessions: the start of the server, a page of the list, and memory.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use serde_json::{Value, json};

use super::{Kind, Options};
use crate::clock::{self, Watchdog};
use crate::connection::Connection;
use crate::http::HttpClient;
use crate::postgres::Postgres;
use crate::report::{Spread, mebibytes, print_header, print_line};
use crate::server::{Server, Users};

/// The ended sessions that a server keeps of one user.
const PER_USER: u64 = 50;
/// Threads that create sessions.
const THREADS: usize = 4;
/// The time between two looks at the list.
const POLL: Duration = Duration::from_millis(20);
/// The time for the server to release temporary memory.
const RELEASE: Duration = Duration::from_secs(2);
/// The limit for a stop.
const STOP: Duration = Duration::from_secs(60);
/// Requests for a page after each start.
const PAGES: usize = 20;
/// The sessions of a page, and of the pages that count all.
const PAGE: &str = "/sessions?limit=100";
const LARGE_PAGE: &str = "/sessions?limit=1000";
/// The profile of the sessions, with logs that fit into the server's bound of disk space.
const PROFILE: &str =
    "[profiles.terminal]\ncommand = [\"true\"]\n[sessions]\nlog_bytes = \"1MiB\"\n";

/// The figures of one store, by round.
#[derive(Default)]
struct Series {
    /// Milliseconds from the start to the address line.
    ready: Vec<f64>,
    /// Milliseconds from the start until all sessions are listed.
    listed: Vec<f64>,
    /// Milliseconds for a page.
    page: Vec<f64>,
    /// Bytes of private memory.
    memory: Vec<u64>,
}

/// Creates the sessions, starts the server with each store, and prints a table.
pub(super) fn run(options: &Options, postgres: &Postgres) -> anyhow::Result<()> {
    let settings = |kind: Kind| kind.settings(postgres) + PROFILE;
    let empty = |kind: Kind| Server::rejoin(&settings(kind));
    let mut empty = Kind::ALL.map(empty).into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut full = Server::rejoin(&settings(Kind::Sqlite))?;
    let started = Instant::now();
    create_all(&full, options.sessions)?;
    print_line(format_args!(
        "\n{} sessions of `true`, created and ended within {:.0} s",
        options.sessions,
        started.elapsed().as_secs_f64()
    ));

    let mut before: [Series; 3] = Default::default();
    let mut after: [Series; 3] = Default::default();
    // In the first round a store without rows takes up the sessions.
    for round in 0..=options.rounds {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            let mut ignored = (Series::default(), Series::default());
            let (before, after) = match round {
                0 => (&mut ignored.0, &mut ignored.1),
                _ => (&mut before[index], &mut after[index]),
            };
            measure(&mut empty[index], 0, before)?;
            full.reconfigure(&settings(kind))?;
            measure(&mut full, options.sessions, after)?;
        }
    }

    print_header(
        "store | sessions | ready after ms | all listed after ms | page of 100 ms | memory",
    );
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        for (count, series) in [(0, &before[index]), (options.sessions, &after[index])] {
            print_row(kind, count, series);
        }
    }
    Ok(())
}

fn print_row(kind: Kind, count: u64, series: &Series) {
    let mut memory = series.memory.clone();
    memory.sort_unstable();
    print_line(format_args!(
        "{} | {count} | {:.0} | {:.0} | {:.1} | {}",
        kind.name(),
        Spread::of(&series.ready),
        Spread::of(&series.listed),
        Spread::of(&series.page),
        mebibytes(memory.get(memory.len() / 2).copied().unwrap_or_default()),
    ));
}

/// Creates sessions whose programs end at once, as many users.
fn create_all(server: &Server, sessions: u64) -> anyhow::Result<()> {
    let users = usize::try_from(sessions.div_ceil(PER_USER))?;
    let tokens = server.tokens(Users::Distinct, users)?;
    let mut left = sessions;
    let work = tokens.iter().map(|token| {
        let count = left.min(PER_USER);
        left -= count;
        (token, count)
    });
    let work: Vec<_> = work.collect();

    thread::scope(|scope| {
        let create = |part| move || create_as(server, part);
        let parts = work.chunks(work.len().div_ceil(THREADS));
        let threads: Vec<_> = parts.map(|part| scope.spawn(create(part))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_| anyhow!("a thread that creates sessions panicked"))?
        })
    })?;

    let api = HttpClient::new(server.address, server.token()?);
    let mut watchdog = Watchdog::new();
    while !page(&api, "/sessions?state=running&limit=1")?.0.is_empty() {
        clock::pause(POLL);
        watchdog.check(0, "ends of sessions")?;
    }
    Ok(())
}

fn create_as(server: &Server, work: &[(&String, u64)]) -> anyhow::Result<()> {
    for (token, count) in work {
        let mut connection = Connection::open(&server.endpoint("/ws").with_token(token))?;
        for _ in 0..*count {
            connection.request("create_session", &json!({"kind": "terminal"}))?;
        }
    }
    Ok(())
}

/// Stops the server and starts it again.
fn measure(server: &mut Server, sessions: u64, series: &mut Series) -> anyhow::Result<()> {
    server.terminate()?;
    server.wait(STOP)?.context("the server did not stop")?;
    let started = Instant::now();
    server.restart()?;
    series.ready.push(started.elapsed().as_secs_f64() * 1e3);

    let api = HttpClient::new(server.address, server.token()?);
    let mut watchdog = Watchdog::new();
    loop {
        let count = count(&api)?;
        if count >= sessions {
            ensure!(count == sessions, "{count} sessions are listed instead of {sessions}");
            break;
        }
        watchdog.check(count, "sessions")?;
        clock::pause(POLL);
    }
    series.listed.push(started.elapsed().as_secs_f64() * 1e3);

    for _ in 0..PAGES {
        let asked = Instant::now();
        page(&api, PAGE)?;
        series.page.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    clock::pause(RELEASE);
    series.memory.push(server.private_bytes()?);
    Ok(())
}

fn count(api: &HttpClient) -> anyhow::Result<u64> {
    let (mut count, mut path) = (0, LARGE_PAGE.to_owned());
    loop {
        let (sessions, next) = page(api, &path)?;
        count += sessions.len() as u64;
        match next.as_str() {
            Some(next) => path = format!("{LARGE_PAGE}&after={next}"),
            None => return Ok(count),
        }
    }
}

/// Returns the sessions of a page, and the start of the next one.
fn page(api: &HttpClient, path: &str) -> anyhow::Result<(Vec<Value>, Value)> {
    let mut page: Value = serde_json::from_str(&api.get(path)?)?;
    let next = page["next"].take();
    let Value::Array(sessions) = page["sessions"].take() else {
        return Err(anyhow!("{path} returned no sessions"));
    };
    Ok((sessions, next))
}
