//! `bench drain`: a server restart, the reconnects after it, and the messages that clients missed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, ensure};

use crate::clock;
use crate::machine;
use crate::report::print_line;
use crate::server::{Server, Users, limits};

mod curve;
mod publisher;
mod reconnects;
mod subscriber;

use reconnects::{Reconnects, Tally};

/// The time of publishing before the stop, and after the last reconnect.
const STEADY: Duration = Duration::from_secs(3);
/// The limit of the stop, and of the last reconnect after the end of the window.
const LIMIT: Duration = Duration::from_secs(90);

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections that subscribe to the topic
    #[arg(long, default_value_t = 5000)]
    connections: usize,
    /// The server's `drain_window`
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    window: Duration,
    /// Messages per second
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// The users of the connections
    #[arg(long, value_enum, default_value_t = Users::Distinct)]
    users: Users,
    /// Also write the curve to this file as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// Runs the benchmark and prints its figures.
///
/// # Errors
/// A client missed a message or received one twice.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(options.connections as u64 + 200)?;
    let window = humantime::format_duration(options.window);
    let limits = format!("{}drain_window = \"{window}\"\n", limits());
    let mut server = Server::rejoin_limited(&limits, "")?;
    // One token more, for the publisher.
    let tokens = server.tokens(options.users, options.connections + 1)?;
    let mut clients = Reconnects::new(server.endpoint("/ws"), tokens, options.rate)?;
    print_line(format_args!(
        "{} connections, drain window {window}, {} messages a second; {}",
        options.connections,
        options.rate,
        machine::load()
    ));

    clients.connect_all()?;
    run_for(&mut clients, STEADY)?;

    let stopped = clock::now();
    clients.expect_restart(stopped);
    server.terminate()?;
    restart(&mut server, &mut clients, stopped)?;
    while clients.missing() > 0 {
        clients.poll()?;
        if clock::now() > stopped + clock::span(options.window + LIMIT) {
            bail!("{} clients did not reconnect\n{}", clients.missing(), server.log());
        }
    }
    run_for(&mut clients, STEADY)?;
    clients.finish()?;

    let tally = print(&clients);
    if let Some(file) = &options.csv {
        std::fs::write(file, clients.curve.csv())?;
    }
    ensure!(tally.missed == 0 && tally.repeated == 0, "messages were missed or repeated");
    Ok(())
}

fn run_for(clients: &mut Reconnects, time: Duration) -> anyhow::Result<()> {
    let end = clock::after(time);
    while clock::now() < end {
        clients.poll()?;
    }
    Ok(())
}

/// Starts the next process as soon as this one has ended.
fn restart(server: &mut Server, clients: &mut Reconnects, stopped: u64) -> anyhow::Result<()> {
    // Clients reconnect while the process stops, so it is polled and not awaited.
    let status = loop {
        clients.poll()?;
        if let Some(status) = server.exit_status()? {
            break status;
        }

        if clock::now() > stopped + clock::span(LIMIT) {
            bail!("the server does not stop\n{}", server.log());
        }
    };
    let seconds = || Duration::from_nanos(clock::now() - stopped).as_secs_f64();
    let ended = seconds();
    server.restart()?;
    print_line(format_args!(
        "the server stopped {ended:.2} s after SIGTERM ({status}), the next one served after \
         {:.2} s\n",
        seconds()
    ));
    Ok(())
}

fn print(clients: &Reconnects) -> Tally {
    let (curve, publisher, tally) = (&clients.curve, &clients.publisher, clients.tally());
    let (largest, mean) = curve.flatness();
    print_line(curve.plot());
    print_line(format_args!(
        "all back after {:.1} s; {largest:.0} in the largest second, {mean:.0} a second between \
         the first and the last: ratio {:.2}",
        curve.last().as_secs_f64(),
        largest / mean,
    ));
    let (attempts, refused) = (curve.attempts.len(), curve.refused.len());
    print_line(format_args!("attempts: {attempts}, of them {refused} while no process listened"));
    print_line(format_args!("ends of connections: {}", clients.ends));
    print_line(format_args!("verdicts after reconnects: {}", clients.verdicts));

    let unknown = publisher.unknown.len() as u64;
    print_line(format_args!(
        "messages published: {}, and {unknown} without a reply",
        publisher.next - unknown
    ));
    print_line(format_args!(
        "deliveries: {}, missed: {}, received twice: {}",
        tally.deliveries, tally.missed, tally.repeated
    ));
    tally
}
