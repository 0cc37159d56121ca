//! Measurement rounds that alternate between targets.

use std::fmt::{self, Display};
use std::time::Duration;

use anyhow::ensure;
use hdrhistogram::Histogram;

use super::{Pace, Target};
use crate::machine;
use crate::report::{self, Spread, as_float, print_header, print_line, quantile};
use crate::stamp;

/// The load of all rounds: paced messages, and then a flood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Paced messages per second.
    pub(crate) rate: u32,
    /// Seconds of paced messages in each round.
    pub(crate) seconds: u32,
    /// Messages of the flood in each round.
    pub(crate) flood: u64,
    pub(crate) rounds: usize,
}

/// The figures of one target in one regime, over all rounds.
pub(super) struct Outcome {
    messages: u64,
    pub(super) deliveries: u64,
    /// Bytes that the subscribers received, frame headers included.
    pub(super) bytes: u64,
    /// Times until a subscriber has the message.
    pub(super) delivery: Histogram<u64>,
    /// Times until the publisher has the acknowledgement.
    pub(super) ack: Histogram<u64>,
    /// The server's CPU time in each round, in microseconds.
    cpu_per_message: Vec<f64>,
    cpu_per_delivery: Vec<f64>,
}

impl Outcome {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            messages: 0,
            deliveries: 0,
            bytes: 0,
            delivery: report::latencies()?,
            ack: report::latencies()?,
            cpu_per_message: Vec::new(),
            cpu_per_delivery: Vec::new(),
        })
    }

    /// Adds the server's CPU time for the messages of one round.
    pub(super) fn add_round(&mut self, cpu: Duration, messages: u64, deliveries: u64) {
        let micros = cpu.as_secs_f64() * 1e6;
        self.cpu_per_message.push(micros / as_float(messages));
        self.cpu_per_delivery.push(micros / as_float(deliveries));
        self.messages += messages;
        self.deliveries += deliveries;
    }
}

/// Formats as the line above the tables.
impl Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, seconds, flood, rounds } = self;
        let (bytes, load) = (stamp::LEN, machine::load());
        writeln!(
            f,
            "{bytes} bytes of data; {rounds} rounds of {seconds} s at {rate}/s and of {flood} \
             messages flooding; {load}",
        )
    }
}

impl Load {
    /// Prints the head of the table of [`Self::compare`].
    pub(crate) fn print_header() {
        print_header(
            "subscribers | regime | server | messages | deliveries | bytes/delivery | \
             CPU µs/message | CPU µs/delivery | delivery p50 | p99 | ack p50 | p99",
        );
    }

    /// Measures the bare loop and rejoin in both regimes, and prints a row for each.
    ///
    /// Returns the ratios of rejoin's CPU time to that of the bare loop, with their names.
    pub(crate) fn compare(
        self,
        name: &str,
        targets: &mut [Target; 2],
    ) -> anyhow::Result<[(String, Spread); 2]> {
        let pace = Pace::Every(Duration::from_secs(1) / self.rate);
        let paced = u64::from(self.rate) * u64::from(self.seconds);
        let paced = self.measure(&format!("{name} | {}/s", self.rate), targets, (pace, paced))?;
        let flood = self.measure(&format!("{name} | flood"), targets, (Pace::Flood, self.flood))?;
        Ok([(format!("{name}, {}/s", self.rate), paced), (format!("{name}, flood"), flood)])
    }

    fn measure(
        self,
        name: &str,
        targets: &mut [Target; 2],
        (pace, messages): (Pace, u64),
    ) -> anyhow::Result<Spread> {
        let outcomes = self.run(targets, (pace, messages))?;
        for (target, outcome) in targets.iter().zip(&outcomes) {
            ensure!(outcome.deliveries > 0, "no message was delivered");
            print_line(format_args!(
                "{name} | {} | {} | {} | {:.1} | {:.1} | {:.2} | {} | {} | {} | {}",
                target.server.name(),
                outcome.messages,
                outcome.deliveries,
                as_float(outcome.bytes) / as_float(outcome.deliveries),
                Spread::of(&outcome.cpu_per_message),
                Spread::of(&outcome.cpu_per_delivery),
                quantile(&outcome.delivery, 0.5),
                quantile(&outcome.delivery, 0.99),
                quantile(&outcome.ack, 0.5),
                quantile(&outcome.ack, 0.99),
            ));
        }
        Ok(Spread::of_ratios(&outcomes[1].cpu_per_message, &outcomes[0].cpu_per_message))
    }

    /// Floods any number of targets. Returns the CPU time of each per delivery, in µs, by round.
    pub(crate) fn flood(self, targets: &mut [Target]) -> anyhow::Result<Vec<Vec<f64>>> {
        let outcomes = self.run(targets, (Pace::Flood, self.flood))?;
        Ok(outcomes.into_iter().map(|outcome| outcome.cpu_per_delivery).collect())
    }

    fn run(
        self,
        targets: &mut [Target],
        (pace, messages): (Pace, u64),
    ) -> anyhow::Result<Vec<Outcome>> {
        let outcomes = targets.iter().map(|_| Outcome::new());
        let mut outcomes = outcomes.collect::<anyhow::Result<Vec<_>>>()?;
        // Each round visits each target, so that other load of the machine affects all alike.
        for _ in 0..self.rounds {
            for (target, outcome) in targets.iter_mut().zip(&mut outcomes) {
                target.run(pace, messages, outcome)?;
            }
        }
        Ok(outcomes)
    }
}
