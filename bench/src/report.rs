//! Tables and figures as they are printed.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::io::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest latency that is told apart, in nanoseconds.
const MAX_LATENCY: u64 = 120_000_000_000;

/// Prints one line; a reader that has gone away is no error.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Latencies in nanoseconds, to three digits.
pub(crate) fn latencies() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, MAX_LATENCY, 3)?)
}

/// A quantile, as people read it.
pub(crate) fn quantile(latencies: &Histogram<u64>, quantile: f64) -> String {
    if latencies.is_empty() {
        return "-".to_owned();
    }
    let micros = Duration::from_nanos(latencies.value_at_quantile(quantile)).as_secs_f64() * 1e6;
    match micros {
        ..1e4 => format!("{micros:.0} µs"),
        ..1e6 => format!("{:.1} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// Bytes, as people read them.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", as_float(bytes) / f64::from(1 << 20))
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "figures have three digits")]
pub(crate) fn as_float(count: u64) -> f64 {
    count as f64
}

/// How often what happened.
#[derive(Debug, Default)]
pub(crate) struct Counts(BTreeMap<String, u64>);

impl Counts {
    pub(crate) fn add(&mut self, what: &str) {
        self.add_many(what, 1);
    }

    pub(crate) fn add_many(&mut self, what: &str, count: u64) {
        match self.0.get_mut(what) {
            Some(known) => *known += count,
            None => drop(self.0.insert(what.to_owned(), count)),
        }
    }

    pub(crate) fn join(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, count)| self.add_many(what, *count));
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(what, count)| format!("{what}: {count}")).collect();
        f.write_str(if parts.is_empty() { "-" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// Prints a ratio beside the target that it must not exceed.
pub(crate) fn say_ratio(name: impl Display, ratio: Spread, target: f64) {
    let Spread { median, min, max } = ratio;
    say(format_args!("{name}: ratio {median:.2} ({min:.2}–{max:.2}), target {target:.2}"));
}

/// The middle, the smallest and the largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Compares two series round by round.
    pub(crate) fn of_ratios(ours: &[f64], floor: &[f64]) -> Self {
        let ratios: Vec<f64> = ours.iter().zip(floor).map(|(ours, floor)| ours / floor).collect();
        Self::of(&ratios)
    }

    /// Of at least one value.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
        } else {
            at(middle)
        };
        Self { median, min: at(0), max: at(sorted.len().wrapping_sub(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_middle_two() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        let ratios = Spread::of_ratios(&[2.0, 9.0], &[1.0, 3.0]);
        assert_eq!(ratios, Spread { median: 2.5, min: 2.0, max: 3.0 });
        assert!((Spread::of(&[4.0, 1.0, 2.0, 3.0]).median - 2.5).abs() < 1e-9);
    }

    #[test]
    fn latencies_are_printed_in_their_unit() {
        let mut latencies = latencies().unwrap();
        assert_eq!(quantile(&latencies, 0.5), "-");
        latencies.record(250_000).unwrap();
        assert_eq!(quantile(&latencies, 0.5), "250 µs");
    }
}
