//! Figures, and the tables that show them.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::io::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency that a histogram resolves, in nanoseconds.
const MAX_LATENCY: u64 = 120_000_000_000;

/// Prints one line to standard output.
pub(crate) fn print_line(line: impl Display) {
    // The reader of a pipe may have closed it; the measurement goes on.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints the head of a Markdown table, whose columns are separated by `|`.
pub(crate) fn print_header(columns: &str) {
    print_line(columns);
    print_line(vec!["---"; columns.split('|').count()].join("|"));
}

/// Prints ratios beside the target that they must not exceed.
pub(crate) fn print_ratios(ratios: &[(String, Spread)], target: f64) {
    print_line("");
    for (name, ratio) in ratios {
        print_line(format_args!("{name}: ratio {ratio:.2}, target {target:.2}"));
    }
}

/// Returns an empty histogram of nanoseconds with a precision of three digits.
pub(crate) fn latencies() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, MAX_LATENCY, 3)?)
}

/// Formats a quantile with its unit; an empty histogram gives `-`.
pub(crate) fn quantile(latencies: &Histogram<u64>, quantile: f64) -> String {
    if latencies.is_empty() {
        return "-".to_owned();
    }

    // The unit depends on the size, so that at most four digits are printed.
    let micros = Duration::from_nanos(latencies.value_at_quantile(quantile)).as_secs_f64() * 1e6;
    match micros {
        ..1e4 => format!("{micros:.0} µs"),
        ..1e6 => format!("{:.1} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// Formats the median and the maximum of times in nanoseconds; no times give a dash.
pub(crate) fn middle_and_max(times: &mut [u64]) -> String {
    times.sort_unstable();
    let Some(max) = times.last() else { return "–".to_owned() };
    let millis = |nanos: u64| nanos / 1_000_000;
    format!("{} ms, {} ms", millis(times[times.len() / 2]), millis(*max))
}

/// Formats bytes as MiB.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", as_float(bytes) / f64::from(1 << 20))
}

/// Returns a count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "figures have three digits")]
pub(crate) fn as_float(count: u64) -> f64 {
    count as f64
}

/// Event counts by name.
#[derive(Debug, Default)]
pub(crate) struct Counts(BTreeMap<String, u64>);

impl Counts {
    pub(crate) fn add(&mut self, name: &str) {
        self.add_many(name, 1);
    }

    pub(crate) fn add_many(&mut self, name: &str, count: u64) {
        // Allocates a name only the first time: attackers count thousands of events a second.
        match self.0.get_mut(name) {
            Some(known) => *known += count,
            None => drop(self.0.insert(name.to_owned(), count)),
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, count)| self.add_many(name, *count));
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(name, count)| format!("{name}: {count}")).collect();

        f.write_str(if parts.is_empty() { "-" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// The median and the extremes of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Divides one series by another, round by round.
    pub(crate) fn of_ratios(ours: &[f64], reference: &[f64]) -> Self {
        let ratios: Vec<f64> = ours.iter().zip(reference).map(|(a, b)| a / b).collect();
        Self::of(&ratios)
    }

    /// Summarizes a series; an empty one gives NaN.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        // Total order: a NaN from an empty round must not panic.
        sorted.sort_by(f64::total_cmp);

        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        // One value of an odd series, the two in the middle of an even one.
        let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        Self { median, min: at(0), max: at(last) }
    }
}

/// Formats as `median (min–max)`, with two digits or the precision of the format string.
impl Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let Self { median, min, max } = self;
        write!(f, "{median:.digits$} ({min:.digits$}–{max:.digits$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_series_is_interpolated() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert!((Spread::of(&[4.0, 1.0, 2.0, 3.0]).median - 2.5).abs() < 1e-9);

        let ratios = Spread::of_ratios(&[2.0, 9.0], &[1.0, 3.0]);
        assert_eq!(format!("{ratios:.1}"), "2.5 (2.0–3.0)");
    }

    #[test]
    fn latencies_are_printed_with_their_unit() {
        let mut latencies = latencies().unwrap();
        assert_eq!(quantile(&latencies, 0.5), "-");

        latencies.record(250_000).unwrap();

        assert_eq!(quantile(&latencies, 0.5), "250 µs");
    }
}
