//! A wheel of alarms: one timer for any number of them.

use std::collections::BTreeMap;

/// Keys by the tick at which they are due.
///
/// An alarm costs its key in a list of those of the same tick, and no timer. None is taken out
/// before it is due: whoever is told checks whether it still wants to be.
#[derive(Debug)]
pub(super) struct Wheel<K> {
    buckets: BTreeMap<u64, Vec<K>>,
}

impl<K> Default for Wheel<K> {
    fn default() -> Self {
        Self { buckets: BTreeMap::new() }
    }
}

impl<K> Wheel<K> {
    /// Sets an alarm.
    pub(super) fn insert(&mut self, tick: u64, key: K) {
        self.buckets.entry(tick).or_default().push(key);
    }

    /// The tick of the first alarm.
    pub(super) fn next(&self) -> Option<u64> {
        self.buckets.first_key_value().map(|(tick, _)| *tick)
    }

    /// Takes the first tick's keys if it is due at `now`.
    pub(super) fn expire(&mut self, now: u64) -> Option<(u64, Vec<K>)> {
        let first = self.buckets.first_entry().filter(|first| *first.key() <= now)?;
        Some(first.remove_entry())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_alarm_rings_once_at_its_tick_or_the_first_look_after_it(
            alarms in prop::collection::vec(0u64..50, 0..100),
            looks in prop::collection::vec(0u64..10, 1..20),
        ) {
            let mut wheel = Wheel::default();
            for (number, tick) in alarms.iter().enumerate() {
                wheel.insert(*tick, number);
            }
            let (mut before, mut now) = (None, 0);
            let mut rung = vec![false; alarms.len()];
            for step in looks.into_iter().chain([50]) {
                now += step;
                let mut last = None;
                while let Some((tick, numbers)) = wheel.expire(now) {
                    prop_assert!(Some(tick) > last, "in their order");
                    last = Some(tick);
                    for number in numbers {
                        prop_assert_eq!(alarms[number], tick);
                        prop_assert!(tick <= now && Some(tick) > before);
                        prop_assert!(!std::mem::replace(&mut rung[number], true));
                    }
                }
                prop_assert!(wheel.next().is_none_or(|next| next > now));
                before = Some(now);
            }
            prop_assert!(rung.iter().all(|rung| *rung) && wheel.next().is_none());
        }
    }

    #[test]
    fn an_alarm_of_an_idle_connection_costs_32_bytes_at_most() {
        let mut wheel = Wheel::default();
        for number in 0..1000 {
            wheel.insert(number % 30, crate::shard::attend::Alarm::default());
        }
        let kept = wheel.buckets.values().map(Vec::capacity).sum::<usize>();
        assert!(kept * size_of::<crate::shard::attend::Alarm>() <= 1000 * 32);
    }
}
