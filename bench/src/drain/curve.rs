//! The curve of those who come back: how many in each second after the stop.

use std::fmt::Write as _;
use std::time::Duration;

use crate::clock;
use crate::report::as_float;

/// The longest bar of the plot.
const COLUMNS: u64 = 60;

/// Times since the stop, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Curve {
    /// When connections were begun.
    pub(super) attempts: Vec<u64>,
    /// When that failed because nobody listened.
    pub(super) refused: Vec<u64>,
    /// When a client was in its place again.
    pub(super) returned: Vec<u64>,
}

impl Curve {
    /// When the last was back.
    pub(super) fn last(&self) -> Duration {
        Duration::from_nanos(self.returned.iter().copied().max().unwrap_or(0))
    }

    /// Returns in the largest second, and in the average one between the first and the last.
    pub(super) fn flatness(&self) -> (f64, f64) {
        let largest = by_second(&self.returned).into_iter().max().unwrap_or(0);
        let first = self.returned.iter().copied().min().unwrap_or(0);
        let span = self.last().saturating_sub(Duration::from_nanos(first)).as_secs_f64();
        (as_float(largest), as_float(self.returned.len() as u64) / span.max(1.0))
    }

    /// A bar for each second.
    pub(super) fn plot(&self) -> String {
        let bins = by_second(&self.returned);
        let largest = bins.iter().copied().max().unwrap_or(0).max(1);
        let mut plot = String::new();
        for (second, count) in bins.iter().enumerate() {
            let bar = "#".repeat(usize::try_from(count * COLUMNS / largest).unwrap_or(0));
            let _ = writeln!(plot, "{second:>4} s | {bar} {count}");
        }
        plot
    }

    /// The same, with what was tried, for other programs.
    pub(super) fn csv(&self) -> String {
        let columns = [&self.attempts, &self.refused, &self.returned].map(|times| by_second(times));
        let seconds = columns.iter().map(Vec::len).max().unwrap_or(0);
        let mut csv = "second,attempts,refused,returned\n".to_owned();
        for second in 0..seconds {
            let [attempts, refused, returned] =
                columns.each_ref().map(|column| column.get(second).copied().unwrap_or(0));
            let _ = writeln!(csv, "{second},{attempts},{refused},{returned}");
        }
        csv
    }
}

fn by_second(times: &[u64]) -> Vec<u64> {
    let mut bins = Vec::new();
    for time in times {
        let second = usize::try_from(time / clock::span(Duration::from_secs(1))).unwrap_or(0);
        if bins.len() <= second {
            bins.resize(second + 1, 0);
        }
        bins[second] += 1;
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_are_counted_by_second_and_the_largest_stands_out() {
        let second = 1_000_000_000;
        let curve = Curve {
            attempts: vec![0, 1, 2, 3 * second],
            refused: vec![second],
            returned: vec![second / 2, second - 1, second, 5 * second / 2],
        };
        assert_eq!(curve.flatness(), (2.0, 2.0));
        assert_eq!(curve.last(), Duration::from_millis(2500));
        let csv = "second,attempts,refused,returned\n0,3,0,2\n1,0,1,1\n2,0,0,1\n3,1,0,0\n";
        assert_eq!(curve.csv(), csv);
        assert_eq!(curve.plot().lines().count(), 3);
    }
}
