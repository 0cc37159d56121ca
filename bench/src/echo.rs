//! `bench echo`: from a key to its echo through one terminal, against a bare loop with a terminal.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;

use crate::client::Connection;
use crate::clock;
use crate::frame;
use crate::machine;
use crate::report::{self, Spread, as_float, quantile, say};
use crate::server::Server;

mod binary;

use binary::{Binary, INPUT_ACK, OUTPUT};

/// The program prints this once its terminal is in raw mode; no key is part of it.
const READY: &[u8] = b"READY";
/// The keys that are typed, in turn.
const KEYS: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";
const WARM_UP: u32 = 200;

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Keys a second; each is typed after the echo of the one before it
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Seconds of each round
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Rounds of each server
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// A server with one terminal, and the connection that types.
struct Typist {
    server: Server,
    connection: Connection,
    /// The number of the session's stream; the bare loop has none.
    stream: Option<u64>,
    /// The number of the last key, from 1.
    number: u64,
    cpu_micros: Vec<f64>,
    latencies: Histogram<u64>,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut typists = [Typist::bare()?, Typist::rejoin()?];
    say(format_args!(
        "{} rounds of {} s at {} keys/s, one at a time; {}\n",
        options.rounds,
        options.seconds,
        options.rate,
        machine::load()
    ));
    let interval = Duration::from_secs(1) / options.rate;
    for typist in &mut typists {
        typist.round(WARM_UP, interval)?;
        typist.cpu_micros.clear();
        typist.latencies.clear();
    }
    // In turn, so that load of the machine meets both alike.
    for _ in 0..options.rounds {
        for typist in &mut typists {
            typist.round(options.rate * options.seconds, interval)?;
        }
    }

    say("server | keys | CPU µs/key | key to echo p50 | p99");
    say("---|---|---|---|---");
    for Typist { server, cpu_micros, latencies, .. } in &typists {
        let cpu = Spread::of(cpu_micros);
        say(format_args!(
            "{} | {} | {:.1} ({:.1}–{:.1}) | {} | {}",
            server.name,
            latencies.len(),
            cpu.median,
            cpu.min,
            cpu.max,
            quantile(latencies, 0.5),
            quantile(latencies, 0.99),
        ));
    }
    say("");
    let [floor, ours] = &typists;
    let Spread { median, min, max } = Spread::of_ratios(&ours.cpu_micros, &floor.cpu_micros);
    say(format_args!("key to echo: ratio {median:.2} ({min:.2}–{max:.2})"));
    Ok(())
}

impl Typist {
    fn bare() -> anyhow::Result<Self> {
        let server = Server::bare_with("bare loop", &["--terminal"])?;
        let connection = Connection::open(&server.endpoint("/terminal"), 0)?;
        Self::start(server, connection, None)
    }

    fn rejoin() -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let program = program.to_str().context("a path that is not UTF-8")?;
        let profile = format!("[profiles.echo]\ncommand = [{program:?}, \"echo-program\"]\n");
        let server = Server::rejoin(&profile)?;
        let mut connection = server.connect(0)?;
        let question = json!({"kind": "terminal", "profile": "echo"});
        let session = connection.ask("create_session", &question)?["session"]["id"].clone();
        let attached = connection.ask("attach", &json!({"session": session, "writer": "bench"}))?;
        let stream = attached["stream"].as_u64().context("`attached` has no stream")?;
        Self::start(server, connection, Some(stream))
    }

    /// Waits until the program reads keys.
    fn start(
        server: Server,
        mut connection: Connection,
        stream: Option<u64>,
    ) -> anyhow::Result<Self> {
        loop {
            let (opcode, payload) = connection.next_frame()?;
            ensure!(opcode != frame::CLOSE, "{} closed the connection", server.name);
            if payload.windows(READY.len()).any(|window| window == READY) {
                break;
            }
        }
        let (cpu_micros, latencies) = (Vec::new(), report::latencies()?);
        Ok(Self { server, connection, stream, number: 0, cpu_micros, latencies })
    }

    /// Types this many keys, one in each interval.
    fn round(&mut self, keys: u32, interval: Duration) -> anyhow::Result<()> {
        let cpu = self.server.cpu_time()?;
        let mut due = clock::now();
        for _ in 0..keys {
            clock::pause(Duration::from_nanos(due.saturating_sub(clock::now())));
            // A late key delays those after it; none are typed in a burst.
            due = due.max(clock::now()) + clock::span(interval);
            self.type_key().with_context(|| format!("{} failed", self.server.name))?;
        }
        let spent = self.server.cpu_time()? - cpu;
        self.cpu_micros.push(spent.as_secs_f64() * 1e6 / as_float(keys.into()));
        Ok(())
    }

    /// Types one key, and waits for its echo and for its acknowledgement if there is one.
    fn type_key(&mut self) -> anyhow::Result<()> {
        let index = usize::try_from(self.number % KEYS.len() as u64)?;
        let key = &KEYS[index..=index];
        self.number += 1;
        let message = match self.stream {
            Some(stream) => binary::input(stream, self.number, key),
            None => key.to_vec(),
        };
        let sent = clock::now();
        self.connection.send(frame::BINARY, &message)?;
        let (mut is_echoed, mut is_acknowledged) = (false, self.stream.is_none());
        while !is_echoed || !is_acknowledged {
            let (opcode, payload) = self.connection.next_frame()?;
            match opcode {
                frame::BINARY => {}
                // The server says once that this connection owns the size.
                frame::TEXT if !payload.windows(7).any(|window| window == b"\"error\"") => continue,
                frame::PING => {
                    self.connection.send(frame::PONG, &payload)?;
                    continue;
                }
                _ => bail!("the server said {}", String::from_utf8_lossy(&payload)),
            }
            let message = match self.stream {
                Some(_) => Binary::read(&payload).context("not a binary message")?,
                None => Binary { kind: OUTPUT, offset: 0, data: &payload },
            };
            match message.kind {
                OUTPUT => {
                    ensure!(message.data == key && !is_echoed, "not the echo of {key:?}");
                    self.latencies.saturating_record(clock::now().saturating_sub(sent));
                    is_echoed = true;
                }
                INPUT_ACK => {
                    ensure!(message.offset == self.number, "not the key that was typed");
                    is_acknowledged = true;
                }
                kind => bail!("a binary message of kind {kind}"),
            }
        }
        Ok(())
    }
}

/// The program in the terminal: writes each byte back, in raw mode.
pub(crate) fn program() -> anyhow::Result<()> {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut settings = tcgetattr(&input)?;
    settings.make_raw();
    tcsetattr(&input, OptionalActions::Now, &settings)?;
    output.write_all(READY)?;
    output.flush()?;
    let mut key = [0];
    while input.read(&mut key)? > 0 {
        output.write_all(&key)?;
        output.flush()?;
    }
    Ok(())
}
