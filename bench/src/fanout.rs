//! `bench fanout`: what one delivery costs, one message at a time and flooding.

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;

use crate::machine;
use crate::report::{self, Spread, as_float, quantile, say};
use crate::server::Server;

mod contestant;
mod publisher;

use contestant::Contestant;
use publisher::Pace;

/// The ratio to the bare loop that rejoin aims at, in both regimes.
const TARGET: f64 = 1.15;
/// What rejoin puts around the data, for when it is not there to show it.
const PREFIX: &str =
    r#"{"type":"message","payload":{"topic":"bench","position":"0123456789abcdef.10000","data":""#;
const SUFFIX: &str = r#"","time":1763640000000}}"#;
/// Published before anything is measured.
const WARM_UP_PACED: u64 = 50;
const WARM_UP_FLOOD: u64 = 1_000;

/// How much of it.
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
    /// How often each server has its turn in each regime
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure also a bare loop that sends the data and nothing around it
    #[arg(long)]
    naked: bool,
    /// What the bare loops read at once from the publisher: it bounds their batches
    #[arg(long, default_value_t = 16 * 1024)]
    loop_read_bytes: usize,
    /// Measure the bare loops only
    #[arg(long)]
    without_rejoin: bool,
}

/// What a server did in one regime, over all rounds.
struct Outcome {
    cpu_micros: Vec<f64>,
    deliveries: u64,
    bytes: u64,
    latencies: Histogram<u64>,
}

impl Outcome {
    fn new() -> anyhow::Result<Self> {
        let latencies = report::latencies()?;
        Ok(Self { cpu_micros: Vec::new(), deliveries: 0, bytes: 0, latencies })
    }
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(options.subscribers as u64 * 3 + 200)?;
    let mut contestants = contestants(options)?;
    say(format_args!(
        "{} subscribers, {} bytes of data; {} rounds of {} s at {}/s and of {} messages flooding\n",
        options.subscribers,
        crate::data::LEN,
        options.rounds,
        options.seconds,
        options.rate,
        options.flood
    ));
    say("regime | server | deliveries | bytes/delivery | CPU µs/delivery | p50 | p99");
    say("---|---|---|---|---|---|---");
    let interval = std::time::Duration::from_secs(1) / options.rate;
    let paced = u64::from(options.rate) * u64::from(options.seconds);
    let regimes = [
        (format!("{}/s", options.rate), Pace::Every(interval), paced),
        ("flood".to_owned(), Pace::AsFastAsTaken, options.flood),
    ];
    let mut ratios = Vec::new();
    for (name, pace, messages) in regimes {
        let outcomes = measure(&mut contestants, options.rounds, pace, messages)?;
        print(&name, &contestants, &outcomes);
        ratios.extend(ratio(&name, &contestants, &outcomes));
    }
    say("");
    for line in ratios {
        say(line);
    }
    Ok(())
}

/// rejoin first: what it sends says what the loop has to put around the data.
fn contestants(options: &Options) -> anyhow::Result<Vec<Contestant>> {
    let mut contestants = Vec::new();
    let mut envelope = (PREFIX.to_owned(), SUFFIX.to_owned());
    if !options.without_rejoin {
        let mut rejoin = Contestant::new(Server::rejoin("")?, options.subscribers)?;
        warm_up(&mut rejoin)?;
        envelope = rejoin.envelope().context("rejoin delivered nothing")?;
        contestants.push(rejoin);
    }
    let mut loops = vec![("bare loop", envelope)];
    if options.naked {
        loops.push(("naked loop", (String::new(), String::new())));
    }
    for (at, (name, (prefix, suffix))) in loops.into_iter().enumerate() {
        let server = Server::bare(name, &prefix, &suffix, options.loop_read_bytes)?;
        let mut contestant = Contestant::new(server, options.subscribers)?;
        warm_up(&mut contestant)?;
        contestants.insert(at, contestant);
    }
    Ok(contestants)
}

fn warm_up(contestant: &mut Contestant) -> anyhow::Result<()> {
    let mut ignored = report::latencies()?;
    let pace = Pace::Every(std::time::Duration::from_millis(10));
    contestant.run(pace, WARM_UP_PACED, &mut ignored)?;
    contestant.run(Pace::AsFastAsTaken, WARM_UP_FLOOD, &mut ignored)?;
    Ok(())
}

/// In turn, so that what the machine does beside us meets all alike.
fn measure(
    contestants: &mut [Contestant],
    rounds: usize,
    pace: Pace,
    messages: u64,
) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes: Vec<Outcome> =
        contestants.iter().map(|_| Outcome::new()).collect::<Result<_, _>>()?;
    for _ in 0..rounds {
        for (contestant, outcome) in contestants.iter_mut().zip(&mut outcomes) {
            let totals = contestant.run(pace, messages, &mut outcome.latencies)?;
            let micros = totals.cpu.as_secs_f64() * 1e6;
            outcome.cpu_micros.push(micros / as_float(totals.deliveries));
            outcome.deliveries += totals.deliveries;
            outcome.bytes += totals.bytes;
        }
    }
    if outcomes.iter().any(|outcome| outcome.deliveries == 0) {
        bail!("nothing was delivered");
    }
    Ok(outcomes)
}

fn print(regime: &str, contestants: &[Contestant], outcomes: &[Outcome]) {
    for (contestant, outcome) in contestants.iter().zip(outcomes) {
        let cpu = Spread::of(&outcome.cpu_micros);
        say(format_args!(
            "{regime} | {} | {} | {:.1} | {:.2} ({:.2}–{:.2}) | {} | {}",
            contestant.name(),
            outcome.deliveries,
            as_float(outcome.bytes) / as_float(outcome.deliveries),
            cpu.median,
            cpu.min,
            cpu.max,
            quantile(&outcome.latencies, 0.5),
            quantile(&outcome.latencies, 0.99),
        ));
    }
}

/// Of each round, so that a slow moment of the machine is in both of its sides.
fn ratio(regime: &str, contestants: &[Contestant], outcomes: &[Outcome]) -> Option<String> {
    let of = |name| {
        let at = contestants.iter().position(|contestant| contestant.name() == name)?;
        outcomes.get(at)
    };
    let (floor, ours) = (of("bare loop")?, of("rejoin")?);
    let ratios: Vec<f64> =
        ours.cpu_micros.iter().zip(&floor.cpu_micros).map(|(ours, floor)| ours / floor).collect();
    let Spread { median, min, max } = Spread::of(&ratios);
    Some(format!("{regime}: ratio {median:.2} ({min:.2}–{max:.2}), target {TARGET}"))
}
