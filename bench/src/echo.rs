//! `bench echo`: from a key to its echo through a terminal, against a bare loop with a terminal.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use rejoin_protocol::StreamNumber;
use rejoin_protocol::binary::{BinaryHeader, BinaryKind};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;

use crate::clock;
use crate::connection::Connection;
use crate::frame;
use crate::machine;
use crate::report::{self, Spread, as_float, print_header, print_line, quantile};
use crate::server::{Server, profile};

/// The program prints this once its terminal is in raw mode. Keys are lower case.
const READY: &[u8] = b"READY";
const KEYS: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";
/// Keys typed before the measurement.
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

/// A server with one terminal, and the connection that types into it.
struct Typist {
    server: Server,
    connection: Connection,
    /// The stream of the session; `None` for the bare loop, whose messages have no head.
    stream: Option<StreamNumber>,
    /// The number of the last key, from 1.
    number: u64,
    cpu_micros: Vec<f64>,
    latencies: Histogram<u64>,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut typists = [Typist::bare()?, Typist::rejoin()?];
    print_line(format_args!(
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
    // Each round visits both servers, so that other load of the machine affects both alike.
    for _ in 0..options.rounds {
        for typist in &mut typists {
            typist.round(options.rate * options.seconds, interval)?;
        }
    }

    print_header("server | keys | CPU µs/key | key to echo p50 | p99");
    for Typist { server, cpu_micros, latencies, .. } in &typists {
        print_line(format_args!(
            "{} | {} | {:.1} | {} | {}",
            server.name(),
            latencies.len(),
            Spread::of(cpu_micros),
            quantile(latencies, 0.5),
            quantile(latencies, 0.99),
        ));
    }
    let [reference, ours] = &typists;
    let ratio = Spread::of_ratios(&ours.cpu_micros, &reference.cpu_micros);
    print_line(format_args!("\nkey to echo: ratio {ratio:.2}"));
    Ok(())
}

impl Typist {
    fn bare() -> anyhow::Result<Self> {
        let server = Server::bare(&["--terminal"], None)?;
        let connection = Connection::open(&server.endpoint("/terminal"))?;
        Self::start(server, connection, None)
    }

    fn rejoin() -> anyhow::Result<Self> {
        let server = Server::rejoin(&profile("echo", &["echo-program"])?)?;
        let mut connection = server.connect()?;
        let session = connection.create_terminal("echo", (80, 24))?;
        // The writer id makes the server acknowledge input by number.
        let attach = json!({"session": session, "writer": "bench"});
        let stream =
            serde_json::from_value(connection.request("attach", &attach)?["stream"].take())?;
        Self::start(server, connection, Some(stream))
    }

    /// Waits until the program reads keys.
    fn start(
        server: Server,
        mut connection: Connection,
        stream: Option<StreamNumber>,
    ) -> anyhow::Result<Self> {
        connection.wait_for_output(READY).with_context(|| format!("{} failed", server.name()))?;
        let (cpu_micros, latencies) = (Vec::new(), report::latencies()?);
        Ok(Self { server, connection, stream, number: 0, cpu_micros, latencies })
    }

    /// Types this many keys, one per interval.
    fn round(&mut self, keys: u32, interval: Duration) -> anyhow::Result<()> {
        let cpu = self.server.cpu_time()?;
        let mut due = clock::now();
        for _ in 0..keys {
            clock::pause(clock::until(due, interval));
            // A late key delays the ones after it; none are typed in a burst.
            due = due.max(clock::now()) + clock::span(interval);
            self.type_key().with_context(|| format!("{} failed", self.server.name()))?;
        }

        let spent = self.server.cpu_time()? - cpu;
        self.cpu_micros.push(spent.as_secs_f64() * 1e6 / as_float(keys.into()));
        Ok(())
    }

    /// Types one key, and waits for its echo and, from rejoin, for its acknowledgement.
    fn type_key(&mut self) -> anyhow::Result<()> {
        let index = usize::try_from(self.number % KEYS.len() as u64)?;
        let key = &KEYS[index..=index];
        self.number += 1;
        let mut message = Vec::new();
        if let Some(stream) = self.stream {
            BinaryHeader { kind: BinaryKind::Input, stream, offset: self.number }
                .write(&mut message);
        }
        message.extend_from_slice(key);

        let sent = clock::now();
        self.connection.send(frame::BINARY, &message)?;
        // The echo and the acknowledgement arrive in either order.
        let (mut is_echoed, mut is_acknowledged) = (false, self.stream.is_none());
        while !is_echoed || !is_acknowledged {
            let frame = self.connection.next_frame()?;
            if frame.opcode == frame::TEXT {
                // Reports once that this connection owns the size of the terminal.
                let message = frame.message()?;
                ensure!(message["type"] != "error", "unexpected message: {message}");
                continue;
            }

            let (kind, offset, data) = match self.stream {
                Some(_) => {
                    let (head, data) = BinaryHeader::read(frame.payload())?;
                    (head.kind, head.offset, data)
                }
                None => (BinaryKind::Output, 0, frame.payload()),
            };
            match kind {
                BinaryKind::Output if data == key && !is_echoed => {
                    self.latencies.saturating_record(frame.time.saturating_sub(sent));
                    is_echoed = true;
                }
                BinaryKind::InputAck if offset == self.number => is_acknowledged = true,
                kind => bail!("neither the echo nor the acknowledgement of {key:?}: {kind:?}"),
            }
        }
        Ok(())
    }
}

/// Runs the terminal's program, which echoes each byte in raw mode.
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
