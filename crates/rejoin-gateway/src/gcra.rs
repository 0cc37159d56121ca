//! Rate limits by the generic cell rate algorithm (GCRA), with one timestamp of state.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

/// A rate: an amount per window. The whole amount may be taken at once, and it refills evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    /// The time in which one unit refills, rounded up so that no window exceeds the count. The
    /// time for the full capacity is a multiple of it, so that units can be taken one by one.
    interval: Duration,
}

/// The rates at which a client may send. `None` means no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Messages per window.
    pub messages: Option<Rate>,
    /// Bytes of messages per window.
    pub bytes: Option<Rate>,
}

/// The state of one rate limit. All calls must pass the same [`Rate`].
///
/// In any time span, at most the rate's count is taken, plus the count times the span divided by
/// the window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gcra {
    /// The time at which the limit is full again. `None` or a past time means that it is full.
    full_at: Option<Instant>,
}

impl Rate {
    /// Creates a rate of `count` per `window`, at most one per nanosecond.
    #[must_use]
    pub const fn new(count: NonZeroU32, window: Duration) -> Self {
        let nanos = window.as_nanos().div_ceil(count.get() as u128);
        let interval = match nanos > u64::MAX as u128 {
            true => Duration::from_nanos(u64::MAX),
            #[expect(clippy::cast_possible_truncation, reason = "compared above")]
            false => Duration::from_nanos(nanos as u64),
        };

        Self { count, interval }
    }

    /// Returns the time in which `amount` units refill.
    fn refill_time(&self, amount: u32) -> Duration {
        self.interval.saturating_mul(amount)
    }
}

impl Gcra {
    /// Takes `amount` units, all or none.
    ///
    /// # Errors
    /// The time after which the amount is available if nothing else is taken; [`Duration::MAX`]
    /// for an amount above the rate's count.
    pub(crate) fn take(&mut self, rate: &Rate, now: Instant, amount: u32) -> Result<(), Duration> {
        if amount > rate.count.get() {
            return Err(Duration::MAX);
        }

        // The time in which everything taken so far, including this amount, refills. It may reach
        // the refill time of the whole count, but must not exceed it.
        let owed = self.full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let owed = owed.saturating_add(rate.refill_time(amount));
        match owed.checked_sub(rate.refill_time(rate.count.get())) {
            None | Some(Duration::ZERO) => {
                self.full_at = Some(now + owed);
                Ok(())
            }
            Some(too_much) => Err(too_much),
        }
    }

    /// Returns `true` if the limit is full, like a new one.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(count: u32, window: Duration) -> Rate {
        Rate::new(NonZeroU32::new(count).unwrap(), window)
    }

    #[test]
    fn a_rate_allows_a_burst_and_refills_evenly() {
        let rate = rate(4, Duration::from_secs(8));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut gcra = Gcra::default();

        assert_eq!(gcra.take(&rate, start, 4), Ok(()));
        assert_eq!(gcra.take(&rate, start, 1), Err(Duration::from_secs(2)));
        assert_eq!(gcra.take(&rate, after(1), 1), Err(Duration::from_secs(1)));
        assert_eq!(gcra.take(&rate, after(2), 1), Ok(()));
        assert_eq!(gcra.take(&rate, after(5), 2), Err(Duration::from_secs(1)));
        assert!(!gcra.is_full(after(9)));
        assert!(gcra.is_full(after(10)));
    }

    #[test]
    fn an_amount_above_the_count_is_never_taken() {
        let mut gcra = Gcra::default();
        let rate = rate(4, Duration::from_secs(1));
        assert_eq!(gcra.take(&rate, Instant::now(), 5), Err(Duration::MAX));
        assert!(gcra.is_full(Instant::now()));
    }

    #[test]
    fn the_whole_count_can_be_taken_one_by_one() {
        for count in [1, 3, 7, 60, 1000, 65_537] {
            let rate = rate(count, Duration::from_secs(1));
            let (mut gcra, now) = (Gcra::default(), Instant::now());
            assert!((0..count).all(|_| gcra.take(&rate, now, 1).is_ok()), "{count}");
            assert!(gcra.take(&rate, now, 1).is_err(), "{count}");
        }
    }

    #[test]
    fn an_interval_with_a_remainder_is_rounded_up() {
        let (rate, start) = (rate(3, Duration::from_nanos(10)), Instant::now());
        let mut gcra = Gcra::default();
        assert_eq!(gcra.take(&rate, start, 3), Ok(()));
        assert_eq!(gcra.take(&rate, start, 1), Err(Duration::from_nanos(4)));
    }

    #[test]
    fn the_state_is_as_small_as_an_instant() {
        assert!(size_of::<Gcra>() <= 16);
    }

    /// Returns `true` if no time span exceeds the count plus the refill.
    fn is_within(taken: &[(u64, u32)], count: u32, window: u64) -> bool {
        let whole = u128::from(count) * u128::from(window);
        taken.iter().enumerate().all(|(first, (from, _))| {
            let mut sum = 0;
            taken[first..].iter().all(|(to, amount)| {
                sum += u128::from(*amount);
                sum * u128::from(window) <= whole + u128::from(count) * u128::from(to - from)
            })
        })
    }

    proptest! {
        #[test]
        fn no_time_span_exceeds_the_count_plus_the_refill(
            count in 1..50_u32,
            window in 1..2_000_000_000_u64,
            steps in prop::collection::vec((0..1000_u64, 0..8_u32), 1..120),
        ) {
            let rate = rate(count, Duration::from_nanos(window));
            let start = Instant::now();
            let mut gcra = Gcra::default();
            let mut nanos = 0;
            let mut taken = Vec::new();
            for (gap, amount) in steps {
                nanos += gap * window / 2000;
                if gcra.take(&rate, start + Duration::from_nanos(nanos), amount).is_ok() {
                    taken.push((nanos, amount));
                }
            }

            prop_assert!(is_within(&taken, count, window));
        }

        #[test]
        fn a_refused_amount_is_available_exactly_after_the_returned_time(
            count in 1..50_u32,
            window in prop_oneof![1..100_u64, 1..2_000_000_000_u64],
            amounts in prop::collection::vec(1..50_u32, 1..60),
        ) {
            let rate = rate(count, Duration::from_nanos(window));
            let start = Instant::now();
            let mut now = start;
            let mut taken = Vec::new();
            let mut gcra = Gcra::default();
            for amount in amounts {
                let amount = amount.min(count);
                if let Err(wait) = gcra.take(&rate, now, amount) {
                    let early = now + wait - Duration::from_nanos(1);

                    prop_assert!(gcra.take(&rate, early, amount).is_err());

                    now += wait;
                    prop_assert_eq!(gcra.take(&rate, now, amount), Ok(()));
                }

                taken.push((u64::try_from((now - start).as_nanos()).unwrap(), amount));
            }

            prop_assert!(is_within(&taken, count, window));
        }
    }
}
