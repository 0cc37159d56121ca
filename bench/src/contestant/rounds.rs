//! Interleaved rounds: each server in turn, so that load of the machine meets all alike.

use anyhow::ensure;

use super::{Contestant, Latencies, Pace};
use crate::report::as_float;

/// The figures of one server in one regime, over all rounds.
pub(crate) struct Outcome {
    /// Server CPU of each round, in microseconds.
    cpu_micros: Vec<f64>,
    /// Messages of each round.
    messages: u64,
    /// Over all rounds.
    pub(crate) deliveries: u64,
    /// Over all rounds.
    pub(crate) bytes: u64,
    pub(crate) latencies: Latencies,
}

impl Outcome {
    /// Returns the CPU µs per delivery, for each round.
    pub(crate) fn cpu_per_delivery(&self) -> Vec<f64> {
        let per_round = as_float(self.deliveries) / as_float(self.cpu_micros.len() as u64);
        self.cpu_micros.iter().map(|micros| micros / per_round).collect()
    }

    /// Returns the number of published messages, over all rounds.
    pub(crate) fn messages(&self) -> u64 {
        self.messages * self.cpu_micros.len() as u64
    }

    /// Returns the CPU µs per published message, for each round.
    pub(crate) fn cpu_per_message(&self) -> Vec<f64> {
        self.cpu_micros.iter().map(|micros| micros / as_float(self.messages)).collect()
    }
}

/// Runs all rounds of one regime. The outcomes are in the order of the contestants.
pub(crate) fn measure(
    contestants: &mut [Contestant],
    rounds: usize,
    pace: Pace,
    messages: u64,
) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(contestants.len());
    for _ in &*contestants {
        outcomes.push(Outcome {
            cpu_micros: Vec::new(),
            messages,
            deliveries: 0,
            bytes: 0,
            latencies: Latencies::new()?,
        });
    }
    for _ in 0..rounds {
        for (contestant, outcome) in contestants.iter_mut().zip(&mut outcomes) {
            let totals = contestant.run(pace, messages, &mut outcome.latencies)?;
            outcome.cpu_micros.push(totals.cpu.as_secs_f64() * 1e6);
            outcome.deliveries += totals.deliveries;
            outcome.bytes += totals.bytes;
        }
    }
    ensure!(outcomes.iter().all(|outcome| outcome.deliveries > 0), "no message was delivered");
    Ok(outcomes)
}
