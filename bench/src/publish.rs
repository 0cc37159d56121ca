//! `bench publish`: the cost of one acknowledged publish, against a bare loop that acknowledges.

use crate::machine;
use crate::report::{Spread, print_header, print_line, print_ratio, quantile};
use crate::server::Server;
use crate::stamp;
use crate::target::{Outcome, Target, compare, regimes};
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
    print_line(format_args!(
        "one publisher, {} bytes of data, each message acknowledged; {} rounds of {} s at {}/s and of {} messages flooding; {}\n",
        stamp::LEN,
        options.rounds,
        options.seconds,
        options.rate,
        options.flood,
        machine::load(),
    ));
    print_header(
        "variant | regime | server | publishes | bytes/delivery | CPU µs/publish | \
         delivery p50 | p99 | ack p50 | p99",
    );

    let topics = Topics::new(options.topics);
    let variants = [
        ("1 subscriber".to_owned(), Topics::ONE, 1),
        ("10 subscribers".to_owned(), Topics::ONE, 10),
        (format!("{} topics, 1 subscriber each", topics.count()), topics, 1),
    ];
    let mut ratios = Vec::new();
    // Each variant has two new servers, so that no topic of an earlier one remains.
    for (variant, topics, subscribers) in variants {
        let mut targets = start(topics, subscribers)?;
        for regime in regimes(options.rate, options.seconds, options.flood) {
            let name = format!("{variant} | {}", regime.name);
            let ratio = compare(&mut targets, options.rounds, &regime, |server, outcome| {
                print(&name, server, outcome);
            })?;
            ratios.push((format!("{variant}, {}", regime.name), ratio));
        }
    }

    print_line("");
    for (name, ratio) in ratios {
        print_ratio(name, ratio, TARGET);
    }
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

fn print(name: &str, server: &str, outcome: &Outcome) {
    let latencies = &outcome.latencies;
    print_line(format_args!(
        "{name} | {server} | {} | {:.1} | {:.1} | {} | {} | {} | {}",
        outcome.messages,
        outcome.bytes_per_delivery(),
        Spread::of(&outcome.cpu_per_message),
        quantile(&latencies.delivery, 0.5),
        quantile(&latencies.delivery, 0.99),
        quantile(&latencies.ack, 0.5),
        quantile(&latencies.ack, 0.99),
    ));
}
