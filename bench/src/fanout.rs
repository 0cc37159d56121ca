//! `bench fanout`: the cost of one delivery, with paced messages and with a flood.

use crate::machine;
use crate::report::{print_line, print_ratios};
use crate::server::Server;
use crate::target::{Load, Target};
use crate::tls::Identity;
use crate::topics::Topics;

/// The highest acceptable ratio to the bare loop, in both regimes.
const TARGET: f64 = 1.10;
const TARGET_TLS: f64 = 1.30;

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections that subscribe to the topic
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Paced messages per second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Seconds of paced messages in each round
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Messages of the flood in each round
    #[arg(long, default_value_t = 5000)]
    flood: u64,
    /// Rounds of each server in each regime
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Use TLS for both servers
    #[arg(long)]
    tls: bool,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    // Both servers have all subscribers connected at the same time.
    machine::allow_open_files(options.subscribers as u64 * 2 + 200)?;
    let identity = options.tls.then(Identity::generate).transpose()?;

    let mut targets = start(options, identity.as_ref())?;
    let Options { subscribers, rate, seconds, flood, rounds, tls } = *options;
    let load = Load { rate, seconds, flood, rounds };
    let over = if tls { " over TLS" } else { "" };
    print_line(format_args!("{subscribers} subscribers{over}, {load}"));
    Load::print_header();

    let ratios = load.compare(&subscribers.to_string(), &mut targets)?;
    print_ratios(&ratios, if tls { TARGET_TLS } else { TARGET });
    Ok(())
}

/// Starts the bare loop and rejoin, in this order.
fn start(options: &Options, identity: Option<&Identity>) -> anyhow::Result<[Target; 2]> {
    let start = |server| Target::start(server, Topics::ONE, options.subscribers);

    // Rejoin delivers first: the loop sends the same bytes around the data.
    let rejoin = start(Server::rejoin_over(identity)?)?;
    let (prefix, suffix) = rejoin.envelope()?;
    let bare = Server::bare(&["--prefix", &prefix, "--suffix", &suffix], identity)?;
    Ok([start(bare)?, rejoin])
}
