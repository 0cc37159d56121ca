//! `bench deflate`: what a delivery costs when it is compressed, against one compression per reader.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::client::Connection;
use crate::machine;
use crate::report::{Spread, as_float, say};
use crate::server::Server;

mod audience;
mod words;

use audience::Audience;

/// What rejoin puts around the data, so that as many bytes travel from the loops.
const PREFIX: &str =
    r#"{"type":"message","payload":{"topic":"bench","position":"0123456789abcdef.10000","data":"#;
const SUFFIX: &str = r#","time":1763640000000}}"#;
/// Sent before anything is measured, to each.
const WARM_UP: usize = 5;

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections that subscribe to the topic
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Messages of each size, in each round; each is sent when all have the one before it
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    messages: u32,
    /// Bytes of a message's data, about
    #[arg(long, value_delimiter = ',', default_values_t = [1024, 16 * 1024])]
    bytes: Vec<usize>,
    /// How often each server has its turn with each size
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// A server, and those who hear from it.
struct Contestant {
    name: &'static str,
    server: Server,
    audience: Audience,
}

#[derive(Default)]
struct Outcome {
    cpu_micros: Vec<f64>,
    wire_bytes: Vec<f64>,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(options.subscribers as u64 * 4 + 200)?;
    let envelope = ["--prefix", PREFIX, "--suffix", SUFFIX];
    let plain = Server::bare_with("bare loop", &envelope)?;
    let each = Server::bare_with("bare loop", &[&envelope[..], &["--deflate"]].concat())?;
    let count = options.subscribers;
    let mut contestants = [
        Contestant::new("bare loop, plain", plain, count, Form::Plain)?,
        Contestant::new("rejoin, plain", Server::rejoin("")?, count, Form::Plain)?,
        Contestant::new("rejoin, compressed", Server::rejoin("")?, count, Form::Compressed)?,
        Contestant::new("bare loop, one compression per reader", each, count, Form::Compressed)?,
    ];
    say(format_args!(
        "{count} subscribers, {} rounds of {} messages one at a time; {}\n",
        options.rounds,
        options.messages,
        machine::load()
    ));
    say("data | server | CPU µs/delivery | bytes/delivery | CPU to rejoin plain | bytes to plain");
    say("---|---|---|---|---|---");
    for bytes in &options.bytes {
        measure(&mut contestants, *bytes, options)?;
    }
    Ok(())
}

/// Whether the subscribers offer compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Compressed,
}

impl Contestant {
    fn new(name: &'static str, server: Server, count: usize, form: Form) -> anyhow::Result<Self> {
        let path = if server.speaks_rejoin() { "/ws" } else { "/subscribe" };
        let mut endpoint = server.endpoint(path);
        if form == Form::Compressed {
            endpoint = endpoint.with_deflate();
        }
        let open = |index| -> anyhow::Result<Connection> {
            if !server.speaks_rejoin() {
                return Connection::open(&endpoint, index);
            }
            let mut connection = server.connect_as(server.token()?, &endpoint, index)?;
            connection.ask("subscribe", &serde_json::json!({"topic": "bench"}))?;
            Ok(connection)
        };
        let members = (0..count).map(open).collect::<Result<_, _>>()?;
        let audience = Audience::new(members, server.publisher()?, server.speaks_rejoin(), form)?;
        Ok(Self { name, server, audience })
    }

    /// Sends the messages one after the other; what a delivery cost.
    fn round(&mut self, documents: &[String], outcome: &mut Outcome) -> anyhow::Result<()> {
        let deliveries = as_float((documents.len() * self.audience.len()) as u64);
        let (cpu, bytes) = (self.server.cpu_time()?, self.audience.bytes());
        for document in documents {
            self.audience.tell(document).with_context(|| format!("{} failed", self.name))?;
        }
        let spent: Duration = self.server.cpu_time()? - cpu;
        outcome.cpu_micros.push(spent.as_secs_f64() * 1e6 / deliveries);
        outcome.wire_bytes.push(as_float(self.audience.bytes() - bytes) / deliveries);
        Ok(())
    }
}

/// In turn, so that what the machine does beside us meets all alike.
fn measure(contestants: &mut [Contestant], bytes: usize, options: &Options) -> anyhow::Result<()> {
    let mut words = words::Words::new();
    let mut documents =
        |count| -> Vec<String> { (0..count).map(|_| words.document(bytes)).collect() };
    let mut outcomes: Vec<Outcome> = contestants.iter().map(|_| Outcome::default()).collect();
    for contestant in &mut *contestants {
        contestant.round(&documents(WARM_UP), &mut Outcome::default())?;
    }
    for _ in 0..options.rounds {
        let documents = documents(usize::try_from(options.messages)?);
        for (contestant, outcome) in contestants.iter_mut().zip(&mut outcomes) {
            contestant.round(&documents, outcome)?;
        }
    }
    let plain = outcomes.get(1).context("nobody was measured")?;
    ensure!(options.rounds > 0, "at least one round is needed");
    for (contestant, outcome) in contestants.iter().zip(&outcomes) {
        let cpu = Spread::of(&outcome.cpu_micros);
        let against = |ours: &[f64], theirs: &[f64]| {
            let ratios: Vec<f64> =
                ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
            Spread::of(&ratios).median
        };
        say(format_args!(
            "{bytes} B | {} | {:.2} ({:.2}–{:.2}) | {:.0} | {:.2} | {:.2}",
            contestant.name,
            cpu.median,
            cpu.min,
            cpu.max,
            Spread::of(&outcome.wire_bytes).median,
            against(&outcome.cpu_micros, &plain.cpu_micros),
            against(&outcome.wire_bytes, &plain.wire_bytes),
        ));
    }
    Ok(())
}
