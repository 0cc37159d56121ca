//! Durable publishes per second beside other servers, and beside a bare file.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::Options;
use super::broker::Broker;
use super::publishers;
use crate::clock;
use crate::report::{self, Spread, as_float, print_header, print_line, quantile};

/// The numbers of publishers.
const PUBLISHERS: [usize; 3] = [1, 16, 64];
/// The text of a message.
const TEXT: &str = "................................................................\
                    ................................................................";

/// The figures of one server, by round.
struct Series {
    /// Messages per second.
    rates: Vec<f64>,
    /// µs of CPU time per message.
    cpu: Vec<f64>,
    latencies: Histogram<u64>,
}

impl Series {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { rates: Vec::new(), cpu: Vec::new(), latencies: report::latencies()? })
    }

    fn print(&self, publishers: usize, name: &str, reference: &Self) {
        let ratio = Spread::of_ratios(&reference.rates, &self.rates);
        print_line(format_args!(
            "{publishers} | {name} | {:.0} | {ratio:.2} | {} | {} | {:.0}",
            Spread::of(&self.rates),
            quantile(&self.latencies, 0.5),
            quantile(&self.latencies, 0.99),
            Spread::of(&self.cpu).median,
        ));
    }
}

/// Measures all servers and prints a table.
pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let brokers = Broker::start_all()?;
    let duration = Duration::from_millis(options.milliseconds);
    print_line(format_args!(
        "\n{} bytes per message; {} rounds of {duration:?}\n",
        TEXT.len(),
        options.rounds
    ));
    print_header(
        "publishers | server | publishes/s | rejoin, durable ÷ it | p50 | p99 | CPU µs/publish",
    );
    for count in PUBLISHERS {
        compare(&brokers, count, (options.rounds, duration))?;
    }
    Ok(())
}

/// Prints a row for each server with this number of publishers.
fn compare(
    brokers: &[Broker],
    count: usize,
    (rounds, duration): (u32, Duration),
) -> anyhow::Result<()> {
    let connect = |broker: &Broker| broker.connect(count, TEXT);
    let mut all = brokers.iter().map(connect).collect::<Result<Vec<_>, _>>()?;
    let series = brokers.iter().map(|_| Series::new());
    let mut series = series.collect::<anyhow::Result<Vec<_>>>()?;
    let mut bare = Series::new()?;
    let mut file = tempfile::tempfile()?;
    // The first round warms the servers up.
    for round in 0..=rounds {
        for ((broker, publishers), series) in brokers.iter().zip(&mut all).zip(&mut series) {
            let mut latencies = report::latencies()?;
            let cpu = broker.cpu_time()?;
            let (messages, time) = publishers::publish(publishers, duration, &mut latencies)?;
            let cpu = broker.cpu_time()? - cpu;
            if round > 0 {
                series.rates.push(as_float(messages) / time.as_secs_f64());
                series.cpu.push(cpu.as_secs_f64() * 1e6 / as_float(messages));
                series.latencies.add(&latencies)?;
            }
        }
        if round > 0 {
            append(&mut file, count, duration, &mut bare)?;
        }
    }

    for (broker, figures) in brokers.iter().zip(&series) {
        figures.print(count, &broker.name, &series[0]);
    }
    bare.print(count, "bare file, a sync per group", &series[0]);
    Ok(())
}

/// Appends a message of each publisher to a file with one write, and syncs it, again and again.
fn append(
    file: &mut File,
    publishers: usize,
    duration: Duration,
    series: &mut Series,
) -> anyhow::Result<()> {
    let group = TEXT.repeat(publishers);
    let (start, end, cpu) = (clock::now(), clock::after(duration), clock::thread_cpu());
    let mut messages = 0;
    let mut now = start;
    while now < end {
        file.write_all(group.as_bytes())?;
        file.sync_data()?;
        messages += publishers as u64;
        series.latencies.saturating_record(clock::now() - now);
        now = clock::now();
    }
    let time = Duration::from_nanos(now - start);
    series.rates.push(as_float(messages) / time.as_secs_f64());
    let cpu = clock::thread_cpu() - cpu;
    series.cpu.push(cpu.as_secs_f64() * 1e6 / as_float(messages));
    Ok(())
}
