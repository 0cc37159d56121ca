//! Measurement rounds that alternate between targets.

use std::time::Duration;

use anyhow::ensure;

use super::{Latencies, Pace, Target};
use crate::report::{Spread, as_float};

/// One way to publish a number of messages.
#[derive(Clone, Debug)]
pub(crate) struct Regime {
    pub(crate) name: String,
    pace: Pace,
    messages: u64,
}

/// Returns the two regimes: `rate` messages a second for `seconds`, and `flood` messages at once.
pub(crate) fn regimes(rate: u32, seconds: u32, flood: u64) -> [Regime; 2] {
    let pace = Pace::Every(Duration::from_secs(1) / rate);
    let messages = u64::from(rate) * u64::from(seconds);
    [
        Regime { name: format!("{rate}/s"), pace, messages },
        Regime { name: "flood".to_owned(), pace: Pace::Flood, messages: flood },
    ]
}

/// The figures of one target in one regime, over all rounds.
pub(crate) struct Outcome {
    pub(crate) messages: u64,
    pub(crate) deliveries: u64,
    pub(crate) bytes: u64,
    pub(crate) latencies: Latencies,
    /// The server's CPU time per message in each round, in microseconds.
    pub(crate) cpu_per_message: Vec<f64>,
    /// The server's CPU time per delivery in each round, in microseconds.
    pub(crate) cpu_per_delivery: Vec<f64>,
}

impl Outcome {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            messages: 0,
            deliveries: 0,
            bytes: 0,
            latencies: Latencies::new()?,
            cpu_per_message: Vec::new(),
            cpu_per_delivery: Vec::new(),
        })
    }

    /// Returns the bytes of one delivery, frame header included.
    pub(crate) fn bytes_per_delivery(&self) -> f64 {
        as_float(self.bytes) / as_float(self.deliveries)
    }
}

/// Measures the bare loop and rejoin in one regime, and prints the figures of each.
///
/// Returns the ratio of rejoin's CPU time to that of the bare loop.
pub(crate) fn compare(
    targets: &mut [Target; 2],
    rounds: usize,
    regime: &Regime,
    print: impl Fn(&'static str, &Outcome),
) -> anyhow::Result<Spread> {
    let mut outcomes = [Outcome::new()?, Outcome::new()?];

    // Each round visits each target, so that other load of the machine affects all alike.
    for _ in 0..rounds {
        for (target, outcome) in targets.iter_mut().zip(&mut outcomes) {
            let totals = target.run(regime.pace, regime.messages, &mut outcome.latencies)?;
            let micros = totals.cpu.as_secs_f64() * 1e6;
            outcome.cpu_per_message.push(micros / as_float(regime.messages));
            outcome.cpu_per_delivery.push(micros / as_float(totals.deliveries));
            outcome.messages += regime.messages;
            outcome.deliveries += totals.deliveries;
            outcome.bytes += totals.bytes;
        }
    }

    for (target, outcome) in targets.iter().zip(&outcomes) {
        ensure!(outcome.deliveries > 0, "no message was delivered");
        print(target.name(), outcome);
    }
    let [bare, rejoin] = &outcomes;
    Ok(Spread::of_ratios(&rejoin.cpu_per_message, &bare.cpu_per_message))
}
