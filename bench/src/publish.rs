//! `bench publish`: the cost of one acknowledged publish, against a bare loop that acknowledges.

use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::contestant::{Contestant, Outcome, Pace, measure};
use crate::machine;
use crate::report::{Spread, as_float, quantile, say, say_ratio};
use crate::server::Server;
use crate::topics::Topics;

/// The target for the ratio to the bare loop, in both regimes.
const TARGET: f64 = 2.0;
/// Published before anything is measured, at a pace and flooding.
const WARM_UP_PACED: u64 = 50;
const WARM_UP_FLOOD: u64 = 2_000;

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Messages a second when they come one at a time
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Seconds of that, in each round
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Messages when flooding, in each round
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    flood: u64,
    /// Rounds of each server in each regime
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Topics of the variant with many, at most 10,000
    #[arg(long, default_value_t = 1000)]
    topics: usize,
}

/// A shape of the traffic.
#[derive(Debug)]
struct Variant {
    name: String,
    topics: Topics,
    /// Of each topic.
    subscribers: usize,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(options.topics as u64 * 2 + 200)?;
    say(format_args!(
        "one publisher, {} bytes of data, each message acknowledged; {} rounds of {} s at {}/s and of {} messages flooding; {}\n",
        crate::data::LEN,
        options.rounds,
        options.seconds,
        options.rate,
        options.flood,
        machine::load(),
    ));
    say(
        "variant | regime | server | publishes | bytes/delivery | CPU µs/publish | delivery p50 | p99 | ack p50 | p99",
    );
    say("---|---|---|---|---|---|---|---|---|---");
    let interval = Duration::from_secs(1) / options.rate;
    let paced = u64::from(options.rate) * u64::from(options.seconds);
    let regimes = [
        (format!("{}/s", options.rate), Pace::Every(interval), paced),
        ("flood".to_owned(), Pace::AsFastAsTaken, options.flood),
    ];
    let mut ratios = Vec::new();
    for variant in variants(options) {
        let mut contestants = contestants(&variant)?;
        for (regime, pace, messages) in &regimes {
            let outcomes = measure(&mut contestants, options.rounds, *pace, *messages)?;
            let name = format!("{} | {regime}", variant.name);
            print(&name, &contestants, &outcomes);
            let [floor, ours] = &outcomes[..] else { bail!("two servers are compared") };
            let ratio = Spread::of_ratios(&ours.cpu_per_message(), &floor.cpu_per_message());
            ratios.push((format!("{}, {regime}", variant.name), ratio));
        }
    }
    say("");
    for (name, ratio) in ratios {
        say_ratio(name, ratio, TARGET);
    }
    Ok(())
}

fn variants(options: &Options) -> [Variant; 3] {
    let topics = Topics::new(options.topics);
    let many = format!("{} topics, 1 subscriber each", topics.count());
    [
        Variant { name: "1 subscriber".to_owned(), topics: Topics::ONE, subscribers: 1 },
        Variant { name: "10 subscribers".to_owned(), topics: Topics::ONE, subscribers: 10 },
        Variant { name: many, topics, subscribers: 1 },
    ]
}

/// Connects rejoin first: its messages show the loop what to send. The loop is first in the result.
fn contestants(variant: &Variant) -> anyhow::Result<[Contestant; 2]> {
    let start = |server| -> anyhow::Result<Contestant> {
        let mut contestant = Contestant::new(server, variant.topics, variant.subscribers)?;
        contestant.warm_up(WARM_UP_PACED, WARM_UP_FLOOD)?;
        Ok(contestant)
    };
    let rejoin = start(Server::rejoin("")?)?;
    let (prefix, suffix) = rejoin.envelope().context("rejoin delivered no message")?;
    let ack = rejoin.ack().context("rejoin acknowledged no message")?;
    let topics = variant.topics.count().to_string();
    let arguments = ["--prefix", &prefix, "--suffix", &suffix, "--ack", ack, "--topics", &topics];
    Ok([start(Server::bare_with("bare loop", &arguments)?)?, rejoin])
}

fn print(name: &str, contestants: &[Contestant], outcomes: &[Outcome]) {
    for (contestant, outcome) in contestants.iter().zip(outcomes) {
        let per_message = outcome.cpu_per_message();
        let cpu = Spread::of(&per_message);
        let latencies = &outcome.latencies;
        say(format_args!(
            "{name} | {} | {} | {:.1} | {:.1} ({:.1}–{:.1}) | {} | {} | {} | {}",
            contestant.name(),
            outcome.messages(),
            as_float(outcome.bytes) / as_float(outcome.deliveries),
            cpu.median,
            cpu.min,
            cpu.max,
            quantile(&latencies.delivery, 0.5),
            quantile(&latencies.delivery, 0.99),
            quantile(&latencies.ack, 0.5),
            quantile(&latencies.ack, 0.99),
        ));
    }
}
