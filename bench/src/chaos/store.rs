//! `chaos store`: crashes of the server under publishes and terminals, compared from outside.
//!
//! Clients record what the server acknowledges and shows. After each crash a checker compares that
//! with topics, with rows that it reads from the database itself, and with processes.

use std::time::Duration;

use anyhow::ensure;

use crate::clock;
use crate::report::{middle_and_max, print_header, print_line};

mod crash;
mod database;
mod findings;
mod history;
mod ledger;
mod life;
mod messages;
mod outage;
mod publishers;
mod restart;
mod rows;
mod subscriber;
mod terminals;

use crate::postgres::Postgres;
use crash::{Crash, Totals};
use findings::Finding;

/// The runs on one data directory. The next ones begin with a fresh one, because a user may use
/// 10,000 idempotency keys in five minutes.
const RUNS_PER_DIRECTORY: u64 = 4;
/// Runs by default.
const SQLITE_RUNS: u64 = 200;
const POSTGRES_RUNS: u64 = 50;

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The scenario
    #[arg(long, value_enum, default_value = "crash")]
    scenario: Scenario,
    /// The stores to use
    #[arg(long, value_enum, default_value = "both")]
    store: Stores,
    /// Crashes with each store [default: 200 with SQLite, 50 with PostgreSQL]
    #[arg(long)]
    runs: Option<u64>,
    /// The seed of a run to repeat; only the times of events differ
    #[arg(long)]
    seed: Option<u64>,
    /// Seconds for which PostgreSQL is stopped
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Publish to topics only, and emit no events to users and devices
    #[arg(long)]
    no_emits: bool,
}

/// The events that are compared with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    /// Crashes at random moments under load
    Crash,
    /// 100 sessions in all states, before and after a stop and a crash
    Restart,
    /// PostgreSQL is stopped for a minute under load
    Outage,
    /// The row of a session after each step of its life
    Life,
}

/// The stores of the option `--store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Stores {
    Sqlite,
    Postgres,
    Both,
}

/// Runs the scenario with each store.
///
/// # Errors
/// A promise is broken, or a server fails in another way.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match options.scenario {
        Scenario::Crash => crash_all(options),
        Scenario::Restart => with_each(options.store, restart::run),
        Scenario::Outage => outage::run(Duration::from_secs(options.seconds)),
        Scenario::Life => with_each(options.store, life::run),
    }
}

/// Calls a scenario for each store.
fn with_each(
    stores: Stores,
    mut scenario: impl FnMut(Option<&Postgres>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if stores != Stores::Postgres {
        print_line("SQLite");
        scenario(None)?;
    }
    if stores != Stores::Sqlite {
        print_line("PostgreSQL");
        scenario(Some(&Postgres::start()?))?;
    }
    Ok(())
}

/// Crashes servers with each store, and prints a row for each.
fn crash_all(options: &Options) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(|| clock::now() % 1_000_000);
    print_line(format_args!("seed {seed}"));

    let mut rows = Vec::new();
    with_each(options.store, |postgres| {
        let (name, runs) = match postgres {
            None => ("SQLite", SQLITE_RUNS),
            Some(_) => ("PostgreSQL", POSTGRES_RUNS),
        };
        rows.push((name, crash(options, options.runs.unwrap_or(runs), seed, postgres)?));
        Ok(())
    })?;

    print_header(
        "store | runs | messages acknowledged | retried with a key | sessions | states shown | \
         lost | repeated | positions with two meanings | wrong verdicts | contradicting rows | \
         recovery p50, max",
    );
    for (store, totals) in &mut rows {
        print_row(store, totals);
    }
    let broken: u64 = rows.iter().map(|(_, totals)| totals.findings.total()).sum();
    ensure!(broken == 0, "{broken} promises were broken");
    Ok(())
}

/// Crashes a server so often, with a fresh data directory from time to time.
fn crash(
    options: &Options,
    runs: u64,
    seed: u64,
    postgres: Option<&Postgres>,
) -> anyhow::Result<Totals> {
    let mut totals = Totals::default();
    let mut left = runs;
    while left > 0 {
        let count = left.min(RUNS_PER_DIRECTORY);
        let crash = Crash::start(seed + runs - left, postgres, !options.no_emits)?;
        crash.run(count, &mut totals)?;
        left -= count;
    }
    Ok(totals)
}

fn print_row(store: &str, totals: &mut Totals) {
    let recovery = middle_and_max(&mut totals.recoveries);
    let count = |finding| totals.findings.count(finding);
    print_line(format_args!(
        "{store} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {recovery}",
        totals.recoveries.len(),
        totals.acknowledged,
        totals.retried,
        totals.sessions,
        totals.shown,
        count(Finding::Lost),
        count(Finding::Repeated),
        count(Finding::TwoMeanings),
        count(Finding::WrongVerdict),
        count(Finding::Contradiction),
    ));
}
