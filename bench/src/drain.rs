//! `bench drain`: a rolling restart: how clients come back, and what they have missed.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{bail, ensure};

use crate::clock;
use crate::machine;
use crate::report::say;
use crate::server::{Server, Users, limits};

mod curve;
mod herd;
mod member;
mod publisher;

use herd::{Herd, Tally};

/// The longest wait for something to happen, so that the server's end is seen in time.
const TURN: Duration = Duration::from_millis(5);
/// Time to publish in before the stop, and when all are back.
const STEADY: Duration = Duration::from_secs(3);
/// Beyond the window: who has not come back by then never will.
const PATIENCE: Duration = Duration::from_secs(90);

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections that subscribe to the topic
    #[arg(long, default_value_t = 5000)]
    connections: usize,
    /// The server's `drain_window`
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    window: Duration,
    /// Messages a second
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Whose connections they are
    #[arg(long, value_enum, default_value_t = Users::Distinct)]
    users: Users,
    /// Write the curve to this file as well, as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// How the server went.
struct Stop {
    status: ExitStatus,
    took: Duration,
    /// From the signal until the next one listened.
    away: Duration,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(options.connections as u64 + 200)?;
    let window = humantime::format_duration(options.window);
    let mut server =
        Server::rejoin_limited(&format!("{}drain_window = \"{window}\"\n", limits()), "")?;
    let tokens = server.tokens(options.users, options.connections + 1)?;
    let mut herd = Herd::new(server.endpoint("/ws"), tokens, options.rate)?;
    say(format_args!(
        "{} connections, drain window {window}, {} messages a second; {}",
        options.connections,
        options.rate,
        machine::load()
    ));
    herd.gather()?;
    run_for(&mut herd, STEADY)?;

    let began = clock::now();
    herd.begin(began);
    server.terminate()?;
    let stop = replace(&mut server, &mut herd, began)?;
    let patience = clock::span(options.window + PATIENCE);
    while herd.away() > 0 {
        herd.turn(TURN)?;
        if clock::now() > began + patience {
            bail!("{} of them never came back\n{}", herd.away(), server.log());
        }
    }
    run_for(&mut herd, STEADY)?;
    herd.finish()?;
    print(&herd, &stop);
    if let Some(file) = &options.csv {
        std::fs::write(file, herd.flock().curve.csv())?;
    }
    let Tally { missed, repeated, .. } = herd.flock().tally();
    ensure!(missed == 0 && repeated == 0, "deliveries were wrong");
    Ok(())
}

fn run_for(herd: &mut Herd, time: Duration) -> anyhow::Result<()> {
    let until = clock::now() + clock::span(time);
    while clock::now() < until {
        herd.turn(TURN)?;
    }
    Ok(())
}

/// Starts the next server as soon as this one has ended.
fn replace(server: &mut Server, herd: &mut Herd, began: u64) -> anyhow::Result<Stop> {
    loop {
        herd.turn(TURN)?;
        if let Some(status) = server.ended()? {
            let took = Duration::from_nanos(clock::now() - began);
            server.restart()?;
            return Ok(Stop { status, took, away: Duration::from_nanos(clock::now() - began) });
        }
        if clock::now() > began + clock::span(PATIENCE) {
            bail!("the server does not stop\n{}", server.log());
        }
    }
}

fn print(herd: &Herd, stop: &Stop) {
    let Stop { status, took, away } = stop;
    say(format_args!(
        "the server stopped {:.2} s after SIGTERM ({status}), the next one served after {:.2} s\n",
        took.as_secs_f64(),
        away.as_secs_f64()
    ));
    let flock = herd.flock();
    let curve = &flock.curve;
    say(curve.plot());
    let (largest, mean) = curve.flatness();
    say(format_args!(
        "all back after {:.1} s; {largest:.0} in the largest second, {mean:.0} a second between the \
         first and the last: ratio {:.2}",
        curve.last().as_secs_f64(),
        largest / mean,
    ));
    let (attempts, refused) = (curve.attempts.len(), curve.refused.len());
    say(format_args!("attempts: {attempts}, of them {refused} while nobody listened"));
    say(format_args!("how connections ended: {}", herd.ends));
    say(format_args!("verdicts for those who came back: {}", flock.verdicts));
    let (tally, publisher) = (flock.tally(), &flock.publisher);
    say(format_args!(
        "messages published: {}, beside {} whose answer never came",
        publisher.next - publisher.unsure.len() as u64,
        publisher.unsure.len(),
    ));
    say(format_args!(
        "deliveries: {}, missed: {}, received twice: {}",
        tally.deliveries, tally.missed, tally.repeated
    ));
}
