//! `bench store`: what durability costs, beside a store in memory and beside other servers.

use crate::machine;
use crate::postgres::Postgres;
use crate::report::print_line;

mod broker;
mod durable;
mod overhead;
mod publishers;
mod restart;

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The tables to print
    #[arg(long, value_enum, default_value = "all")]
    part: Part,
    /// Rounds of each server
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Output of the terminal in each round, in MB
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u64).range(1..))]
    megabytes: u64,
    /// Connections that subscribe to the topic of the fan-out
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Messages of the fan-out in each round
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    flood: u64,
    /// Milliseconds of durable publishes in each round
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    milliseconds: u64,
    /// Sessions in the store
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    sessions: u64,
}

/// The tables of the option `--part`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Output and fan-out with each store
    Overhead,
    /// Durable publishes
    Durable,
    /// Many sessions
    Sessions,
    All,
}

/// The stores that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Memory,
    Sqlite,
    Postgres,
}

impl Kind {
    /// The reference first.
    const ALL: [Self; 3] = [Self::Memory, Self::Sqlite, Self::Postgres];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    /// Returns the settings of a server with this store.
    fn settings(self, postgres: &Postgres) -> String {
        let url = match self {
            Self::Memory => "memory:".to_owned(),
            Self::Sqlite => "sqlite:rejoin.db".to_owned(),
            Self::Postgres => postgres.url(),
        };
        format!("[store]\nurl = {url:?}\n")
    }
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let is_wanted = |part| options.part == part || options.part == Part::All;
    print_line(machine::load());
    if is_wanted(Part::Overhead) {
        overhead::run(options, &Postgres::start()?)?;
    }
    if is_wanted(Part::Durable) {
        durable::run(options)?;
    }
    if is_wanted(Part::Sessions) {
        restart::run(options, &Postgres::start()?)?;
    }
    Ok(())
}
