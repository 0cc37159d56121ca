//! The curve of reconnects: their number in each second after the stop.

use std::fmt::Write as _;
use std::time::Duration;

use crate::report::as_float;

/// The columns of the longest bar of the plot.
const COLUMNS: u64 = 60;
const SECOND: u64 = 1_000_000_000;

/// Times since the stop, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Curve {
    /// The starts of reconnects.
    pub(super) attempts: Vec<u64>,
    /// The reconnects that failed because no process listened.
    pub(super) refused: Vec<u64>,
    /// The completed subscriptions.
    pub(super) returned: Vec<u64>,
}

impl Curve {
    /// Returns the time of the last subscription.
    pub(super) fn last(&self) -> Duration {
        Duration::from_nanos(self.returned.iter().copied().max().unwrap_or(0))
    }

    /// Returns the most subscriptions in a second, and their mean from the first to the last.
    pub(super) fn flatness(&self) -> (f64, f64) {
        let largest = by_second(&self.returned).into_iter().max().unwrap_or(0);
        let first = self.returned.iter().copied().min().unwrap_or(0);
        let span = self.last().saturating_sub(Duration::from_nanos(first)).as_secs_f64();
        // At least a second, so that few clients do not give an enormous mean.
        (as_float(largest), as_float(self.returned.len() as u64) / span.max(1.0))
    }

    /// Draws a bar for each second.
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

    /// Formats the curve and the attempts as CSV, one line per second.
    pub(super) fn csv(&self) -> String {
        let columns = [&self.attempts, &self.refused, &self.returned].map(|times| by_second(times));
        let seconds = columns.iter().map(Vec::len).max().unwrap_or(0);
        let mut csv = "second,attempts,refused,returned\n".to_owned();
        for second in 0..seconds {
            let count = |column: &Vec<u64>| column.get(second).copied().unwrap_or(0);
            let [attempts, refused, returned] = columns.each_ref().map(count);
            let _ = writeln!(csv, "{second},{attempts},{refused},{returned}");
        }
        csv
    }
}

fn by_second(times: &[u64]) -> Vec<u64> {
    let mut bins = Vec::new();
    for time in times {
        let second = usize::try_from(time / SECOND).unwrap_or(0);
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
    fn reconnects_are_counted_per_second() {
        let curve = Curve {
            attempts: vec![0, 1, 2, 3 * SECOND],
            refused: vec![SECOND],
            returned: vec![SECOND / 2, SECOND - 1, SECOND, 5 * SECOND / 2],
        };

        assert_eq!(curve.flatness(), (2.0, 2.0));
        assert_eq!(curve.last(), Duration::from_millis(2500));
        let csv = "second,attempts,refused,returned\n0,3,0,2\n1,0,1,1\n2,0,0,1\n3,1,0,0\n";
        assert_eq!(curve.csv(), csv);
        assert_eq!(curve.plot().lines().count(), 3);
    }
}
