//! `bench publish`: the cost of one acknowledged publish, against a bare loop that acknowledges.

use crate::machine;
use crate::report::{print_line, print_ratios};
use crate::server::Server;
use crate::target::{Load, Target};
use crate::topics::Topics;

/// The highest acceptable ratio to the bare loop, in both regimes.
const TARGET: f64 = 2.0;

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Paced messages per second
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Seconds of paced messages in each round
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Messages of the flood in each round
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    flood: u64,
    /// Rounds of each server in each regime
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Topics of the variant with many, at most 10,000
    #[arg(long, default_value_t = 1000)]
    topics: usize,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    // Both servers have a connection per topic.
    machine::allow_open_files(options.topics as u64 * 2 + 200)?;
    let Options { rate, seconds, flood, rounds, .. } = *options;
    let load = Load { rate, seconds, flood, rounds };
    print_line(format_args!("one publisher, each message acknowledged, {load}"));
    Load::print_header();

    let topics = Topics::new(options.topics);
    let many = format!("1 on each of {} topics", topics.count());
    let variants = [("1", Topics::ONE, 1), ("10", Topics::ONE, 10), (&many, topics, 1)];
    let mut ratios = Vec::new();
    // Each variant has two new servers, so that no topic of an earlier one remains.
    for (name, topics, subscribers) in variants {
        let mut targets = start(topics, subscribers)?;
        ratios.extend(load.compare(name, &mut targets)?);
    }

    print_ratios(&ratios, TARGET);
    Ok(())
}

/// Starts the bare loop and rejoin, in this order.
fn start(topics: Topics, subscribers: usize) -> anyhow::Result<[Target; 2]> {
    // Rejoin delivers first: the loop sends the same acknowledgement and bytes around the data.
    let rejoin = Target::start(Server::rejoin("")?, topics, subscribers)?;
    let (prefix, suffix) = rejoin.envelope()?;
    let (ack, count) = (rejoin.last_ack()?, topics.count().to_string());
    let arguments = ["--prefix", &prefix, "--suffix", &suffix, "--ack", ack, "--topics", &count];
    let bare = Target::start(Server::bare(&arguments, None)?, topics, subscribers)?;
    Ok([bare, rejoin])
}
