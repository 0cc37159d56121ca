//! `bench fanout`: the cost of one delivery, one message at a time and flooding.

use std::time::Duration;

use anyhow::Context as _;

use crate::contestant::{Contestant, Outcome, Pace, measure};
use crate::machine;
use crate::report::{Spread, as_float, quantile, say, say_ratio};
use crate::server::Server;
use crate::tls::Identity;
use crate::topics::Topics;

/// Targets for the ratio to the bare loop, in both regimes.
const TARGET: f64 = 1.10;
const TARGET_TLS: f64 = 1.30;
/// The text that rejoin puts around the data, for runs without rejoin.
const PREFIX: &str =
    r#"{"type":"message","payload":{"topic":"bench","position":"0123456789abcdef.10000","data":""#;
const SUFFIX: &str = r#"","time":1763640000000}}"#;
/// Published before anything is measured.
const WARM_UP_PACED: u64 = 50;
const WARM_UP_FLOOD: u64 = 1_000;

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections that subscribe to the topic
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Messages a second when they come one at a time
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Seconds of that, in each round
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Messages when flooding, in each round
    #[arg(long, default_value_t = 5000)]
    flood: u64,
    /// Rounds of each server in each regime
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure also a bare loop that sends the data and nothing around it
    #[arg(long)]
    naked: bool,
    /// Bytes that the bare loops read at once from the publisher: the bound of their batches
    #[arg(long, default_value_t = 16 * 1024)]
    loop_read_bytes: usize,
    /// Measure the bare loops only
    #[arg(long)]
    without_rejoin: bool,
    /// All servers speak TLS, with the same library
    #[arg(long)]
    tls: bool,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(options.subscribers as u64 * 3 + 200)?;
    let identity = options.tls.then(Identity::generate).transpose()?;
    let mut contestants = contestants(options, identity.as_ref())?;
    say(format_args!(
        "{} subscribers{}, {} bytes of data; {} rounds of {} s at {}/s and of {} messages flooding; {}\n",
        options.subscribers,
        if options.tls { " over TLS" } else { "" },
        crate::data::LEN,
        options.rounds,
        options.seconds,
        options.rate,
        options.flood,
        machine::load(),
    ));
    say("regime | server | deliveries | bytes/delivery | CPU µs/delivery | p50 | p99");
    say("---|---|---|---|---|---|---");
    let interval = Duration::from_secs(1) / options.rate;
    let paced = u64::from(options.rate) * u64::from(options.seconds);
    let regimes = [
        (format!("{}/s", options.rate), Pace::Every(interval), paced),
        ("flood".to_owned(), Pace::AsFastAsTaken, options.flood),
    ];
    let mut ratios = Vec::new();
    for (name, pace, messages) in regimes {
        let outcomes = measure(&mut contestants, options.rounds, pace, messages)?;
        print(&name, &contestants, &outcomes);
        ratios.extend(ratio(&contestants, &outcomes).map(|ratio| (name, ratio)));
    }
    say("");
    let target = if options.tls { TARGET_TLS } else { TARGET };
    for (name, ratio) in ratios {
        say_ratio(name, ratio, target);
    }
    Ok(())
}

/// Connects rejoin first: its messages show the loop what to put around the data.
fn contestants(options: &Options, identity: Option<&Identity>) -> anyhow::Result<Vec<Contestant>> {
    let start = |server| -> anyhow::Result<Contestant> {
        let mut contestant = Contestant::new(server, Topics::ONE, options.subscribers)?;
        contestant.warm_up(WARM_UP_PACED, WARM_UP_FLOOD)?;
        Ok(contestant)
    };
    let mut contestants = Vec::new();
    let mut envelope = (PREFIX.to_owned(), SUFFIX.to_owned());
    if !options.without_rejoin {
        let rejoin = start(Server::rejoin_over(identity)?)?;
        envelope = rejoin.envelope().context("rejoin delivered no message")?;
        contestants.push(rejoin);
    }
    let mut loops = vec![("bare loop", envelope)];
    if options.naked {
        loops.push(("naked loop", (String::new(), String::new())));
    }
    let read_bytes = options.loop_read_bytes.to_string();
    for (at, (name, (prefix, suffix))) in loops.iter().enumerate() {
        let arguments = ["--prefix", prefix, "--suffix", suffix, "--read-bytes", &read_bytes];
        contestants.insert(at, start(Server::bare_over(name, &arguments, identity)?)?);
    }
    Ok(contestants)
}

fn print(regime: &str, contestants: &[Contestant], outcomes: &[Outcome]) {
    for (contestant, outcome) in contestants.iter().zip(outcomes) {
        let cpu = Spread::of(&outcome.cpu_per_delivery());
        say(format_args!(
            "{regime} | {} | {} | {:.1} | {:.2} ({:.2}–{:.2}) | {} | {}",
            contestant.name(),
            outcome.deliveries,
            as_float(outcome.bytes) / as_float(outcome.deliveries),
            cpu.median,
            cpu.min,
            cpu.max,
            quantile(&outcome.latencies.delivery, 0.5),
            quantile(&outcome.latencies.delivery, 0.99),
        ));
    }
}

/// Compares rejoin with the bare loop in each round, so that load of the machine meets both.
fn ratio(contestants: &[Contestant], outcomes: &[Outcome]) -> Option<Spread> {
    let of = |name| {
        let at = contestants.iter().position(|contestant| contestant.name() == name)?;
        outcomes.get(at)
    };
    let (floor, ours) = (of("bare loop")?, of("rejoin")?);
    Some(Spread::of_ratios(&ours.cpu_per_delivery(), &floor.cpu_per_delivery()))
}
