//! `bench deflate`: the cost of a compressed delivery, against one compression per reader.

use anyhow::ensure;

use crate::machine;
use crate::report::{Spread, print_header, print_line};
use crate::server::Server;

mod documents;
mod subscribers;

use documents::Documents;
use subscribers::{Encoding, Subscribers};

/// The text that rejoin puts around the data, so that the loops send as many bytes.
const PREFIX: &str = r#"{"type":"message","payload":{"topic":"bench-0000","position":"0123456789abcdef.10000","data":"#;
const SUFFIX: &str = r#","time":1763640000000}}"#;
/// Messages of each size before the measurement.
const WARM_UP: u32 = 5;

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections that subscribe to the topic
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Messages of each size in each round; each is sent when all have received the one before
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    messages: u32,
    /// Approximate bytes of a message's data
    #[arg(long, value_delimiter = ',', default_values_t = [1024, 16 * 1024])]
    bytes: Vec<usize>,
    /// Rounds of each server with each size
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// The figures of one server with one size, by round.
#[derive(Default)]
struct Outcome {
    /// Per delivery.
    cpu_micros: Vec<f64>,
    /// Per delivery, frame header included.
    bytes: Vec<f64>,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    machine::allow_open_files(options.subscribers as u64 * 4 + 200)?;
    let bare = ["--prefix", PREFIX, "--suffix", SUFFIX];
    let deflate = [&bare[..], &["--deflate"]].concat();

    let start =
        |name, server, encoding| Subscribers::connect(name, server, encoding, options.subscribers);
    let mut servers = [
        start("bare loop, plain", Server::bare(&bare, None)?, Encoding::Plain)?,
        start("rejoin, plain", Server::rejoin("")?, Encoding::Plain)?,
        start("rejoin, compressed", Server::rejoin("")?, Encoding::Compressed)?,
        start(
            "bare loop, one compression per reader",
            Server::bare(&deflate, None)?,
            Encoding::Compressed,
        )?,
    ];

    print_line(format_args!(
        "{} subscribers, {} rounds of {} messages one at a time; {}\n",
        options.subscribers,
        options.rounds,
        options.messages,
        machine::load()
    ));
    print_header(
        "data | server | CPU µs/delivery | bytes/delivery | CPU to rejoin plain | bytes to plain",
    );
    for bytes in &options.bytes {
        measure(&mut servers, *bytes, options)?;
    }
    Ok(())
}

fn measure(servers: &mut [Subscribers], bytes: usize, options: &Options) -> anyhow::Result<()> {
    let mut documents = Documents::new();
    let mut next = |count: u32| -> Vec<_> { (0..count).map(|_| documents.next(bytes)).collect() };
    let mut outcomes: Vec<_> = servers.iter().map(|_| Outcome::default()).collect();
    for server in &mut *servers {
        server.publish_all(&next(WARM_UP))?;
    }

    // Each round visits each server, so that other load of the machine affects all alike.
    for _ in 0..options.rounds {
        let documents = next(options.messages);
        for (server, outcome) in servers.iter_mut().zip(&mut outcomes) {
            let (cpu_micros, bytes) = server.publish_all(&documents)?;
            outcome.cpu_micros.push(cpu_micros);
            outcome.bytes.push(bytes);
        }
    }

    // The ratios are to `rejoin, plain`, the second server.
    let [_, plain, ..] = &outcomes[..] else { return Ok(()) };

    for (server, outcome) in servers.iter().zip(&outcomes) {
        print_line(format_args!(
            "{bytes} B | {} | {:.2} | {:.0} | {:.2} | {:.2}",
            server.name(),
            Spread::of(&outcome.cpu_micros),
            Spread::of(&outcome.bytes).median,
            Spread::of_ratios(&outcome.cpu_micros, &plain.cpu_micros).median,
            Spread::of_ratios(&outcome.bytes, &plain.bytes).median,
        ));
    }
    Ok(())
}
