//! `bench connect`: connections per second and the CPU of each, in parallel and one at a time.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;

use crate::client_pool::ClientPool;
use crate::clock;
use crate::endpoint::Endpoint;
use crate::machine;
use crate::report::{self, Spread, as_float, print_header, print_line, print_ratios, quantile};
use crate::server::{Server, Users, limits_of};

/// The highest acceptable ratio to the bare loop, authentication included.
const TARGET: f64 = 2.0;
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
}

/// Returns the endpoint of a connection with this token.
type WithToken = fn(Endpoint, &str) -> Endpoint;

/// One kind of connection, and its figures.
struct Kind<'a> {
    name: &'static str,
    server: &'a Server,
    with_token: WithToken,
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
    let tokens = rejoin.tokens(Users::Distinct, parallel.max(serial))?;
    print_line(format_args!("{} rounds; {}\n", options.rounds, machine::load()));
    print_header(
        "in flight | kind | connections | per second | server CPU µs each | client CPU µs each | \
         p50 | p99",
    );

    let mut ratios = Vec::new();
    for (connections, in_flight) in [(parallel, usize::try_from(options.in_flight)?), (serial, 1)] {
        let mut kinds = [
            Kind::new("bare loop: upgrade", &bare, |it, _| it)?,
            Kind::new("rejoin: upgrade only", &rejoin, |it, _| it)?,
            Kind::new("rejoin: upgrade, `authenticate`", &rejoin, Endpoint::with_token)?,
            Kind::new("rejoin: upgrade with a bearer token", &rejoin, Endpoint::with_bearer)?,
        ];
        for kind in &mut kinds {
            kind.run_round(&tokens[..connections], in_flight)?;
            kind.clear();
        }
        // Each round visits each kind, so that other load of the machine affects all alike.
        for _ in 0..options.rounds {
            for kind in &mut kinds {
                kind.run_round(&tokens[..connections], in_flight)?;
            }
        }

        for kind in &kinds {
            kind.print(in_flight, connections);
        }
        let [bare, rejoin @ ..] = &kinds;
        for kind in rejoin {
            let ratio = Spread::of_ratios(&kind.server_micros, &bare.server_micros);
            ratios.push((format!("{in_flight} in flight, {}", kind.name), ratio));
        }
    }

    print_ratios(&ratios, TARGET);
    Ok(())
}

impl<'a> Kind<'a> {
    fn new(name: &'static str, server: &'a Server, with_token: WithToken) -> anyhow::Result<Self> {
        let (per_second, server_micros, client_micros) = (Vec::new(), Vec::new(), Vec::new());
        let latencies = report::latencies()?;
        Ok(Self { name, server, with_token, per_second, server_micros, client_micros, latencies })
    }

    /// Opens a connection for each token, and closes all once the last is ready.
    fn run_round(&mut self, tokens: &[String], in_flight: usize) -> anyhow::Result<()> {
        let path = if self.server.speaks_rejoin() { "/ws" } else { "/publish" };
        // The administrator's token would authenticate each of them.
        let endpoint = Endpoint { token: None, ..self.server.endpoint(path) };
        let endpoints: Vec<_> =
            tokens.iter().map(|token| (self.with_token)(endpoint.clone(), token)).collect();

        let cpu = (self.server.cpu_time()?, clock::thread_cpu());
        let started = Instant::now();
        let mut pool = ClientPool::new()?;
        pool.connect_timed(&endpoints, in_flight, |nanos| self.latencies.saturating_record(nanos))
            .with_context(|| format!("{} failed", self.name))?;

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

    /// Drops the figures of the round that warmed the server up.
    fn clear(&mut self) {
        let Self { per_second, server_micros, client_micros, latencies, .. } = self;
        [per_second, server_micros, client_micros].into_iter().for_each(Vec::clear);
        latencies.clear();
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
