//! The output of a terminal and the fan-out of a topic with each store.

use super::{Kind, Options};
use crate::machine;
use crate::postgres::Postgres;
use crate::report::{Spread, as_float, print_header, print_line};
use crate::server::Server;
use crate::speed;
use crate::target::{Load, Target};
use crate::topics::Topics;

/// The highest acceptable ratio to the store in memory.
const TARGET: f64 = 1.10;
const GOAL: f64 = 1.01;

/// Measures both loads and prints a table for each.
pub(super) fn run(options: &Options, postgres: &Postgres) -> anyhow::Result<()> {
    machine::allow_open_files(options.subscribers as u64 * 4 + 500)?;
    terminals(options, postgres)?;
    fanout(options, postgres)?;
    print_line(format_args!("\nratios of CPU time: required {TARGET:.2}, goal {GOAL:.2}"));
    Ok(())
}

fn terminals(options: &Options, postgres: &Postgres) -> anyhow::Result<()> {
    let Options { megabytes, rounds, .. } = *options;
    let start = |kind: Kind| {
        let settings = kind.settings(postgres) + &speed::settings(megabytes);
        Server::rejoin(&settings)
    };
    let servers = Kind::ALL.map(start).into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut figures: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); servers.len()];
    // The first round warms the servers up.
    for round in 0..=rounds {
        for (server, (rates, cpu)) in servers.iter().zip(&mut figures) {
            let (rate, spent) = speed::print_once(server, megabytes)?;
            if round > 0 {
                rates.push(rate);
                cpu.push(spent.as_secs_f64() * 1e3 / as_float(megabytes));
            }
        }
    }

    print_line(format_args!("\n{megabytes} MB of output to one viewer, {rounds} rounds\n"));
    print_header("store | MB/s | CPU ms/MB | ratio of CPU to memory");
    for (kind, (rates, cpu)) in Kind::ALL.iter().zip(&figures) {
        let ratio = Spread::of_ratios(cpu, &figures[0].1);
        let (name, rate, cpu) = (kind.name(), Spread::of(rates), Spread::of(cpu));
        print_line(format_args!("{name} | {rate:.1} | {cpu:.2} | {ratio:.3}"));
    }
    Ok(())
}

fn fanout(options: &Options, postgres: &Postgres) -> anyhow::Result<()> {
    let Options { subscribers, flood, rounds, .. } = *options;
    let start = |kind: Kind| {
        let server = Server::rejoin(&kind.settings(postgres))?;
        Target::start(server, Topics::ONE, subscribers)
    };
    let mut targets = Kind::ALL.map(start).into_iter().collect::<Result<Vec<_>, _>>()?;
    let load = Load { rate: 0, seconds: 0, flood, rounds: rounds as usize };
    let figures = load.flood(&mut targets)?;

    print_line(format_args!("\n{flood} messages to {subscribers} subscribers, {rounds} rounds\n"));
    print_header("store | CPU µs/delivery | ratio to memory");
    for (kind, cpu) in Kind::ALL.iter().zip(&figures) {
        let (ratio, cpu) = (Spread::of_ratios(cpu, &figures[0]), Spread::of(cpu));
        print_line(format_args!("{} | {cpu:.3} | {ratio:.3}", kind.name()));
    }
    Ok(())
}
