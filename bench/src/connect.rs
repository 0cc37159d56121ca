//! `bench connect`: connections per second and the CPU of each, in parallel and one at a time.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use hdrhistogram::Histogram;

use crate::client_pool::{ClientPool, Event};
use crate::clock::{self, Watchdog};
use crate::machine;
use crate::report::{self, Spread, as_float, print_header, print_line, print_ratio, quantile};
use crate::server::{Server, Users, limits_of};
use crate::topics::Topics;

/// The highest acceptable ratio to the bare loop, authentication included.
const TARGET: f64 = 2.0;
const POLL: Duration = Duration::from_secs(1);
/// The time for a server to release closed connections.
const RELEASE: Duration = Duration::from_secs(1);

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections of each kind in each round
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Connections that are opened in parallel
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
    /// Connections of each kind in each round that are opened one at a time
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    serial: u32,
    /// Rounds of each kind
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The users of the connections
    #[arg(long, value_enum, default_value_t = Users::Distinct)]
    users: Users,
}

/// The event that completes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    /// The response to the upgrade.
    Upgraded,
    /// The reply to `authenticate`.
    Authenticated,
    /// The `auth_result` after an upgrade with a bearer token.
    Greeted,
}

/// One kind of connection, and its figures.
struct Kind<'a> {
    name: &'static str,
    server: &'a Server,
    ready: Ready,
    per_second: Vec<f64>,
    server_micros: Vec<f64>,
    client_micros: Vec<f64>,
    latencies: Histogram<u64>,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let (parallel, serial) =
        (usize::try_from(options.connections)?, usize::try_from(options.serial)?);
    // The servers inherit the limit.
    machine::allow_open_files(parallel.max(serial) as u64 + 200)?;
    let bare = Server::bare(&[], None)?;
    // Upgrades without a token must not evict each other.
    let limits = limits_of(parallel.max(serial) + 100);
    let rejoin = Server::rejoin_limited(&limits, "")?;
    let tokens = rejoin.tokens(options.users, parallel.max(serial))?;
    print_line(format_args!("{} rounds; {}\n", options.rounds, machine::load()));
    print_header(
        "in flight | kind | connections | per second | server CPU µs each | client CPU µs each | \
         p50 | p99",
    );

    let mut ratios = Vec::new();
    for (connections, in_flight) in [(parallel, usize::try_from(options.in_flight)?), (serial, 1)] {
        let mut kinds = [
            Kind::new("bare loop: upgrade", &bare, Ready::Upgraded)?,
            Kind::new("rejoin: upgrade only", &rejoin, Ready::Upgraded)?,
            Kind::new("rejoin: upgrade, `authenticate`", &rejoin, Ready::Authenticated)?,
            Kind::new("rejoin: upgrade with a bearer token", &rejoin, Ready::Greeted)?,
        ];
        // Each round visits each kind, so that other load of the machine affects all alike.
        for _ in 0..=options.rounds {
            for kind in &mut kinds {
                kind.run_round(&tokens[..connections], in_flight)?;
            }
        }

        for kind in &mut kinds {
            kind.drop_warm_up();
            kind.print(in_flight, connections);
        }
        let [bare, rejoin @ ..] = &kinds;
        for kind in rejoin {
            let ratio = Spread::of_ratios(&kind.server_micros, &bare.server_micros);
            ratios.push((format!("{in_flight} in flight, {}", kind.name), ratio));
        }
    }

    print_line("");
    for (name, ratio) in ratios {
        print_ratio(name, ratio, TARGET);
    }
    Ok(())
}

impl<'a> Kind<'a> {
    fn new(name: &'static str, server: &'a Server, ready: Ready) -> anyhow::Result<Self> {
        let (per_second, server_micros, client_micros) = (Vec::new(), Vec::new(), Vec::new());
        let latencies = report::latencies()?;
        Ok(Self { name, server, ready, per_second, server_micros, client_micros, latencies })
    }

    /// Opens a connection for each token, and closes all once the last is ready.
    fn run_round(&mut self, tokens: &[String], in_flight: usize) -> anyhow::Result<()> {
        // The first round warms the server up; its latencies do not count.
        if self.per_second.len() == 1 {
            self.latencies.clear();
        }
        let cpu = (self.server.cpu_time()?, clock::thread_cpu());
        let started = Instant::now();
        let mut pool = ClientPool::new()?;
        self.connect(&mut pool, tokens, in_flight)?;

        let count = as_float(tokens.len() as u64);
        let micros = |spent: Duration| spent.as_secs_f64() * 1e6 / count;
        self.per_second.push(count / started.elapsed().as_secs_f64());
        self.server_micros.push(micros(self.server.cpu_time()? - cpu.0));
        self.client_micros.push(micros(clock::thread_cpu() - cpu.1));
        // Closed together and outside the timed part: closing costs the server as well.
        drop(pool);
        clock::pause(RELEASE);
        Ok(())
    }

    fn connect(
        &mut self,
        pool: &mut ClientPool,
        tokens: &[String],
        in_flight: usize,
    ) -> anyhow::Result<()> {
        let Self { name, server, ready, latencies, .. } = self;
        let mut endpoint = server.topic_endpoint(Topics::ONE, 0);
        // The bare loop and `upgrade only` do not authenticate.
        endpoint.token = None;
        let mut started_at = vec![0; tokens.len()];
        let (mut started, mut done) = (0, 0);
        let mut watchdog = Watchdog::new();
        while done < tokens.len() {
            // Refilled per poll, so that `in_flight` is the parallelism and not a batch size.
            while started < tokens.len().min(done + in_flight) {
                started_at[started] = clock::now();
                let token = &tokens[started];
                let endpoint = match ready {
                    Ready::Upgraded => endpoint.clone(),
                    Ready::Authenticated => endpoint.clone().with_token(token),
                    Ready::Greeted => {
                        endpoint.clone().with_header(&format!("Authorization: Bearer {token}"))
                    }
                };
                pool.connect(started, &endpoint)?;
                started += 1;
            }

            for (number, event) in pool.poll(POLL)? {
                match (event, *ready) {
                    (Event::Opened, Ready::Upgraded) => {}
                    (Event::Opened, Ready::Authenticated | Ready::Greeted) => continue,
                    (Event::Frame(frame), _) => {
                        let message = frame.message()?;
                        ensure!(message["type"] == "auth_result", "{name}: refused: {message}");
                    }
                    (Event::Ended(end), _) => bail!("{name}: connection {number} ended: {end}"),
                }
                done += 1;
                latencies.saturating_record(clock::now().saturating_sub(started_at[number]));
            }
            watchdog.check(done as u64, "connections")?;
        }
        Ok(())
    }

    fn drop_warm_up(&mut self) {
        for figures in [&mut self.per_second, &mut self.server_micros, &mut self.client_micros] {
            figures.remove(0);
        }
    }

    fn print(&self, in_flight: usize, connections: usize) {
        print_line(format_args!(
            "{in_flight} | {} | {connections} | {:.0} | {:.0} | {:.0} | {} | {}",
            self.name,
            Spread::of(&self.per_second),
            Spread::of(&self.server_micros),
            Spread::of(&self.client_micros).median,
            quantile(&self.latencies, 0.5),
            quantile(&self.latencies, 0.99),
        ));
    }
}
