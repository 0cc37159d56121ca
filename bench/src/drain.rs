//! `bench drain`: a server restart, the reconnects after it, and the messages that clients missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, bail, ensure};
use serde_json::json;

use crate::clock::{self, Budget};
use crate::http::HttpClient;
use crate::machine;
use crate::report::print_line;
use crate::server::{Server, Users, limits};
use crate::stamp::Stamp;

mod curve;
mod reconnects;
mod subscriber;

use reconnects::Reconnects;

/// The time of publishing before the stop, and after the last reconnect.
const STEADY: Duration = Duration::from_secs(3);
/// The longest time between two checks of the publisher for its next message.
const PUBLISHER_PAUSE: Duration = Duration::from_millis(20);
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
    let tokens = server.tokens(Users::Distinct, options.connections)?;
    let mut clients = Reconnects::new(server.endpoint("/ws"), tokens)?;
    print_line(format_args!(
        "{} connections, drain window {window}, {} messages a second; {}",
        options.connections,
        options.rate,
        machine::load()
    ));

    clients.connect_all()?;
    let is_finished = Arc::new(AtomicBool::new(false));
    let publisher = thread::spawn({
        let http = HttpClient::new(server.address, server.token()?);
        let (rate, is_finished) = (options.rate, Arc::clone(&is_finished));
        move || publish(&http, rate, &is_finished)
    });
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

    is_finished.store(true, Ordering::Relaxed);
    let published = publisher.join().map_err(|_| anyhow!("the publisher panicked"))?;
    clients.receive_all(published)?;
    let (missed, repeated) = print(&clients, published);
    ensure!(missed == 0 && repeated == 0, "messages were missed or repeated");
    Ok(())
}

/// Publishes until `is_finished` is set. Returns the number of acknowledged messages.
fn publish(http: &HttpClient, rate: u32, is_finished: &AtomicBool) -> u64 {
    let (mut budget, mut number) = (Budget::new(rate), 0);
    while !is_finished.load(Ordering::Relaxed) {
        clock::pause(PUBLISHER_PAUSE);
        if !budget.take() {
            continue;
        }

        let data = Stamp { time: clock::now(), number }.write();
        let body = json!({"topic": "bench", "data": data}).to_string();
        // The key makes a repeated request harmless, also one that the last process executed.
        let key = Some(number.to_string());
        while !matches!(http.post("/publish", key.as_deref(), &body), Ok((200, _))) {
            clock::pause(PUBLISHER_PAUSE);
        }
        number += 1;
    }
    number
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

/// Prints the figures. Returns the numbers of missed and of repeated deliveries.
fn print(clients: &Reconnects, published: u64) -> (u64, u64) {
    let curve = &clients.curve;
    let (largest, mean) = curve.flatness();
    print_line(curve.plot());
    print_line(format_args!(
        "all back after {:.1} s; {largest:.0} in the largest second, {mean:.0} a second between \
         the first and the last: ratio {:.2}",
        curve.last().as_secs_f64(),
        largest / mean,
    ));
    let (attempts, refused) = (curve.attempts, curve.refused);
    print_line(format_args!("attempts: {attempts}, of them {refused} while no process listened"));
    print_line(format_args!("ends of connections: {}", clients.ends));
    print_line(format_args!("verdicts after reconnects: {}", clients.verdicts));

    let subscribers = clients.subscribers.iter();
    let missed = subscribers.clone().map(|one| one.missed(published)).sum();
    let repeated = subscribers.map(|one| one.repeated).sum();
    print_line(format_args!(
        "messages published: {published}, deliveries: {}, missed: {missed}, received twice: \
         {repeated}",
        clients.received()
    ));
    (missed, repeated)
}
