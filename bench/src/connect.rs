//! `bench connect`: connections per second and CPU of each, many at a time and one at a time.

use std::time::{Duration, Instant};

use anyhow::bail;
use hdrhistogram::Histogram;
use serde_json::json;

use crate::client::Endpoint;
use crate::clock;
use crate::crowd::{Crowd, Heard};
use crate::machine;
use crate::report::{self, Spread, as_float, quantile, say, say_ratio};
use crate::said::Said;
use crate::server::{Server, Users};

const LOOP: &str = "bare loop: upgrade";
const UPGRADE: &str = "rejoin: upgrade only";
const AUTHENTICATE: &str = "rejoin: upgrade, `authenticate`";
const BEARER: &str = "rejoin: upgrade with a bearer token";
/// The target for the ratio to the bare loop, authentication included.
const TARGET: f64 = 2.0;
/// Without anything for so long, the rest never comes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time for a server to put away those who left.
const SETTLE: Duration = Duration::from_secs(1);

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections of each kind, in each round
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Connections on their way at one time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
    /// Connections of each kind, in each round, when they come one at a time
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    serial: u32,
    /// How often each kind has its turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Whose connections they are
    #[arg(long, value_enum, default_value_t = Users::Distinct)]
    users: Users,
}

/// A number of connections, and how many of them are on their way at one time.
#[derive(Clone, Copy, Debug)]
struct Load {
    connections: usize,
    in_flight: usize,
}

/// When a connection is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    /// Its request was accepted.
    Upgraded,
    /// It was told so, after asking.
    Authenticated,
    /// It was told so, unasked.
    Greeted,
}

/// One way to connect, and what it came to.
struct Kind<'a> {
    name: &'static str,
    server: &'a Server,
    path: &'static str,
    ready: Ready,
    outcome: Outcome,
}

struct Outcome {
    per_second: Vec<f64>,
    cpu_micros: Vec<f64>,
    client_micros: Vec<f64>,
    latencies: Histogram<u64>,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(u64::from(options.connections.max(options.serial)) + 200)?;
    let count = usize::try_from(options.connections)?;
    let bare = Server::bare("bare loop", "", "", 16 * 1024)?;
    let rejoin = Server::rejoin("")?;
    let serial = usize::try_from(options.serial)?;
    let tokens = rejoin.tokens(options.users, count.max(serial))?;
    say(format_args!("{} rounds; {}\n", options.rounds, machine::load()));
    say(
        "in flight | kind | connections | per second | server CPU µs each | client CPU µs each | p50 | p99",
    );
    say("---|---|---|---|---|---|---|---");
    let mut ratios = Vec::new();
    for load in [
        Load { connections: count, in_flight: usize::try_from(options.in_flight)? },
        Load { connections: serial, in_flight: 1 },
    ] {
        let mut kinds = [
            Kind::new(LOOP, &bare, Ready::Upgraded)?,
            Kind::new(UPGRADE, &rejoin, Ready::Upgraded)?,
            Kind::new(AUTHENTICATE, &rejoin, Ready::Authenticated)?,
            Kind::new(BEARER, &rejoin, Ready::Greeted)?,
        ];
        // In turn, so that load of the machine meets all alike; the first round does not count.
        for round in 0..=options.rounds {
            for kind in &mut kinds {
                kind.turn(&tokens[..load.connections], load.in_flight, round > 0)?;
            }
        }
        print(load, &kinds);
        ratios.extend(compare(load, &kinds));
    }
    say("");
    for (name, ratio) in ratios {
        say_ratio(name, ratio, TARGET);
    }
    Ok(())
}

impl<'a> Kind<'a> {
    fn new(name: &'static str, server: &'a Server, ready: Ready) -> anyhow::Result<Self> {
        let path = if server.speaks_rejoin() { "/ws" } else { "/subscribe" };
        let outcome = Outcome {
            per_second: Vec::new(),
            cpu_micros: Vec::new(),
            client_micros: Vec::new(),
            latencies: report::latencies()?,
        };
        Ok(Self { name, server, path, ready, outcome })
    }

    /// One connection for each token, all of them held until the last is there.
    fn turn(&mut self, tokens: &[String], in_flight: usize, counts: bool) -> anyhow::Result<()> {
        let cpu = (self.server.cpu_time()?, clock::thread_cpu());
        let started = Instant::now();
        let mut crowd = Crowd::new()?;
        let latencies = self.connect(&mut crowd, tokens, in_flight)?;
        let seconds = started.elapsed().as_secs_f64();
        let connections = as_float(tokens.len() as u64);
        if counts {
            let micros = |spent: Duration| spent.as_secs_f64() * 1e6 / connections;
            let outcome = &mut self.outcome;
            outcome.per_second.push(connections / seconds);
            outcome.cpu_micros.push(micros(self.server.cpu_time()? - cpu.0));
            outcome.client_micros.push(micros(clock::thread_cpu() - cpu.1));
            outcome.latencies.add(&latencies)?;
        }
        drop(crowd);
        clock::pause(SETTLE);
        Ok(())
    }

    fn connect(
        &self,
        crowd: &mut Crowd,
        tokens: &[String],
        in_flight: usize,
    ) -> anyhow::Result<Histogram<u64>> {
        let endpoint = self.server.endpoint(self.path);
        let mut latencies = report::latencies()?;
        let mut begun_at = vec![0; tokens.len()];
        let (mut begun, mut done) = (0, 0);
        while done < tokens.len() {
            while begun < tokens.len().min(done + in_flight) {
                begun_at[begun] = clock::now();
                let bearer = (self.ready == Ready::Greeted).then(|| tokens[begun].as_str());
                crowd.connect(begun, &with_bearer(&endpoint, bearer))?;
                begun += 1;
            }
            let before = done;
            let ended = crowd.turn(PATIENCE, &mut |number, peer, heard| {
                let is_there = match (heard, self.ready) {
                    (Heard::Opened, Ready::Upgraded) => true,
                    (Heard::Opened, Ready::Authenticated) => {
                        let token = tokens[number].as_str();
                        peer.ask("a", "authenticate", &json!({"token": token}));
                        false
                    }
                    (Heard::Text(text), _) => match Said::read(text)?.kind {
                        "auth_result" => true,
                        _ => bail!("refused: {}", String::from_utf8_lossy(text)),
                    },
                    _ => false,
                };
                if is_there {
                    done += 1;
                    latencies.saturating_record(clock::now().saturating_sub(begun_at[number]));
                }
                Ok(())
            })?;
            if let Some((number, end)) = ended.first() {
                bail!("{}: connection {number} was {end}", self.name);
            }
            if before == done && clock::now() > begun_at[begun - 1] + clock::span(PATIENCE) {
                bail!("{}: {} connections never came through", self.name, begun - done);
            }
        }
        Ok(latencies)
    }
}

fn with_bearer(endpoint: &Endpoint, token: Option<&str>) -> Endpoint {
    let headers =
        token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    Endpoint { headers, ..endpoint.clone() }
}

fn print(load: Load, kinds: &[Kind<'_>]) {
    for Kind { name, outcome, .. } in kinds {
        let (rate, cpu) = (Spread::of(&outcome.per_second), Spread::of(&outcome.cpu_micros));
        say(format_args!(
            "{} | {name} | {} | {:.0} ({:.0}–{:.0}) | {:.0} ({:.0}–{:.0}) | {:.0} | {} | {}",
            load.in_flight,
            load.connections,
            rate.median,
            rate.min,
            rate.max,
            cpu.median,
            cpu.min,
            cpu.max,
            Spread::of(&outcome.client_micros).median,
            quantile(&outcome.latencies, 0.5),
            quantile(&outcome.latencies, 0.99),
        ));
    }
}

/// Compares the CPU of each kind of connection with that of the first, the bare loop.
fn compare(load: Load, kinds: &[Kind<'_>]) -> Vec<(String, Spread)> {
    let Some((bare, rejoin)) = kinds.split_first() else { return Vec::new() };
    let ratio = |kind: &Kind<'_>| {
        let name = format!("{} in flight, {}", load.in_flight, kind.name);
        (name, Spread::of_ratios(&kind.outcome.cpu_micros, &bare.outcome.cpu_micros))
    };
    rejoin.iter().map(ratio).collect()
}
