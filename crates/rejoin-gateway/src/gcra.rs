//! A limit of a rate, in one instant of state: the generic cell rate algorithm.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

/// So much in a window: at once, then again as the window goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    /// In what time one comes back. Rounded up, so that no window sees more than the count; and
    /// the window is a multiple of it, so that all of the count may be taken one by one.
    each: Duration,
}

/// What one payer has taken of a rate, which is the same at each call.
///
/// In any span of time it takes at most the rate's count and, on top, the count times the span
/// over the window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gcra {
    /// When all that was taken has come back; none or past: all is there.
    whole_at: Option<Instant>,
}

impl Rate {
    /// `count` in `window`, at most one in each nanosecond; all of it may be taken at once.
    #[must_use]
    pub const fn new(count: NonZeroU32, window: Duration) -> Self {
        let nanos = window.as_nanos().div_ceil(count.get() as u128);
        let each = match nanos > u64::MAX as u128 {
            true => Duration::from_nanos(u64::MAX),
            #[expect(clippy::cast_possible_truncation, reason = "it was compared")]
            false => Duration::from_nanos(nanos as u64),
        };
        Self { count, each }
    }

    /// In what time an amount comes back.
    fn cost(&self, amount: u32) -> Duration {
        self.each.saturating_mul(amount)
    }
}

impl Gcra {
    /// Takes an amount, or nothing.
    ///
    /// # Errors
    /// After what time the amount could be taken if nothing else is; [`Duration::MAX`] for
    /// more than the rate's count.
    pub(crate) fn take(&mut self, rate: &Rate, now: Instant, amount: u32) -> Result<(), Duration> {
        if amount > rate.count.get() {
            return Err(Duration::MAX);
        }
        let owed = self.whole_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let owed = owed.saturating_add(rate.cost(amount));
        match owed.checked_sub(rate.cost(rate.count.get())) {
            None | Some(Duration::ZERO) => {
                self.whole_at = Some(now + owed);
                Ok(())
            }
            Some(too_much) => Err(too_much),
        }
    }

    /// Whether all is there again, as in a new one.
    pub(crate) fn is_whole(&self, now: Instant) -> bool {
        self.whole_at.is_none_or(|at| at <= now)
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
    fn all_may_be_taken_at_once_and_comes_back_bit_by_bit() {
        let rate = rate(4, Duration::from_secs(8));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut gcra = Gcra::default();
        assert_eq!(gcra.take(&rate, start, 4), Ok(()));
        assert_eq!(gcra.take(&rate, start, 1), Err(Duration::from_secs(2)));
        assert_eq!(gcra.take(&rate, after(1), 1), Err(Duration::from_secs(1)));
        assert_eq!(gcra.take(&rate, after(2), 1), Ok(()));
        assert_eq!(gcra.take(&rate, after(5), 2), Err(Duration::from_secs(1)));
        assert!(!gcra.is_whole(after(9)));
        assert!(gcra.is_whole(after(10)));
    }

    #[test]
    fn more_than_the_whole_count_is_never_taken() {
        let mut gcra = Gcra::default();
        let rate = rate(4, Duration::from_secs(1));
        assert_eq!(gcra.take(&rate, Instant::now(), 5), Err(Duration::MAX));
        assert!(gcra.is_whole(Instant::now()));
    }

    #[test]
    fn all_may_be_taken_one_by_one_whether_it_divides_the_window_or_not() {
        for count in [1, 3, 7, 60, 1000, 65_537] {
            let rate = rate(count, Duration::from_secs(1));
            let (mut gcra, now) = (Gcra::default(), Instant::now());
            assert!((0..count).all(|_| gcra.take(&rate, now, 1).is_ok()), "{count}");
            assert!(gcra.take(&rate, now, 1).is_err(), "{count}");
        }
    }

    #[test]
    fn what_does_not_divide_the_window_comes_back_later_and_not_earlier() {
        let (rate, start) = (rate(3, Duration::from_nanos(10)), Instant::now());
        let mut gcra = Gcra::default();
        assert_eq!(gcra.take(&rate, start, 3), Ok(()));
        assert_eq!(gcra.take(&rate, start, 1), Err(Duration::from_nanos(4)));
    }

    #[test]
    fn it_is_as_small_as_an_instant() {
        assert!(size_of::<Gcra>() <= 16);
    }

    /// Whether no span of time saw more than the count and what came back in it.
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
        fn no_span_of_time_sees_more_than_the_count_and_what_comes_back_in_it(
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
        fn what_is_refused_is_taken_after_the_time_that_was_told_and_not_before(
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
