//! The curve of reconnects: their number in each second after the stop.

use std::time::Duration;

use crate::report::as_float;

/// The columns of the longest bar of the plot.
const COLUMNS: u64 = 60;
const SECOND: u64 = 1_000_000_000;

/// The reconnects of all clients.
#[derive(Debug, Default)]
pub(super) struct Curve {
    /// The number of attempts.
    pub(super) attempts: u64,
    /// The number of attempts that failed because no process listened.
    pub(super) refused: u64,
    /// The completed subscriptions: times since the stop, in nanoseconds.
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
        let bar = |count| "#".repeat(usize::try_from(count * COLUMNS / largest).unwrap_or(0));
        let row = |(second, count)| format!("{second:>4} s | {} {count}\n", bar(count));
        bins.into_iter().enumerate().map(row).collect()
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
        let returned = vec![SECOND / 2, SECOND - 1, SECOND, 5 * SECOND / 2];
        let curve = Curve { returned, ..Curve::default() };

        assert_eq!(by_second(&curve.returned), [2, 1, 1]);
        assert_eq!(curve.flatness(), (2.0, 2.0));
        assert_eq!(curve.last(), Duration::from_millis(2500));
        assert_eq!(curve.plot().lines().count(), 3);
    }
}
