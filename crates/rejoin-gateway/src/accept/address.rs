//! How many new connections an address may make.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::gcra::{Gcra, Rate};

/// Addresses that are known at one time, at most.
const MAX_ADDRESSES: usize = 65_536;
/// Fewer than this are not worth a cleaning.
const MIN_SWEEP: usize = 1024;
/// How often a full table is cleaned at most: whoever fills it must not keep it busy too.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// One rate for each address (B8).
#[derive(Debug)]
pub(crate) struct AddressLimit {
    rate: Option<Rate>,
    /// Held for one look-up, or for a cleaning.
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    addresses: HashMap<IpAddr, Gcra>,
    /// What all share who came when it was full.
    others: Gcra,
    /// It is cleaned at this size: after each cleaning at least as many come as it has kept.
    sweep_at: usize,
    swept: Option<Instant>,
}

impl AddressLimit {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        let table = Table {
            addresses: HashMap::new(),
            others: Gcra::default(),
            sweep_at: MIN_SWEEP,
            swept: None,
        };
        Self { rate, table: Mutex::new(table) }
    }

    /// Counts a new connection of an address.
    ///
    /// # Errors
    /// When to try again.
    pub(crate) fn admit(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(rate) = &self.rate else { return Ok(()) };
        let mut table = self.table.lock();
        table.of(network(address), now).take(rate, now, 1)
    }
}

impl Table {
    fn of(&mut self, address: IpAddr, now: Instant) -> &mut Gcra {
        if !self.addresses.contains_key(&address) {
            self.sweep(now);
            if self.addresses.len() >= MAX_ADDRESSES {
                return &mut self.others;
            }
        }
        self.addresses.entry(address).or_default()
    }

    fn sweep(&mut self, now: Instant) {
        let is_soon = self.swept.is_some_and(|swept| now < swept + SWEEP_PAUSE);
        if self.addresses.len() < self.sweep_at || is_soon {
            return;
        }
        self.addresses.retain(|_, gcra| !gcra.is_whole(now));
        self.sweep_at = (self.addresses.len() * 2).clamp(MIN_SWEEP, MAX_ADDRESSES);
        self.addresses.shrink_to(self.sweep_at);
        self.swept = Some(now);
    }
}

/// Whom an address stands for: of IPv6, one subscriber has a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        num::NonZeroU32,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn limit(count: u32) -> AddressLimit {
        AddressLimit::new(Some(Rate::new(NonZeroU32::new(count).unwrap(), WINDOW)))
    }

    fn numbered(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn an_address_has_its_count_and_then_waits() {
        let (limit, now) = (limit(2), Instant::now());
        let address = numbered(1);
        assert_eq!(limit.admit(address, now), Ok(()));
        assert_eq!(limit.admit("::ffff:0.0.0.1".parse().unwrap(), now), Ok(()));
        assert_eq!(limit.admit(address, now), Err(WINDOW / 2));
        assert_eq!(limit.admit(numbered(2), now), Ok(()));
        assert_eq!(limit.admit(address, now + WINDOW / 2), Ok(()));
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let limit = AddressLimit::new(None);
        let now = Instant::now();
        assert!((0..10_000).all(|_| limit.admit(numbered(1), now).is_ok()));
        assert!(limit.table.lock().addresses.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let (limit, now) = (limit(1), Instant::now());
        let admit = |address: &str| limit.admit(address.parse().unwrap(), now).is_ok();
        assert!(admit("2001:db8:0:1::1"));
        assert!(!admit("2001:db8:0:1:ffff::2"));
        assert!(admit("2001:db8:0:2::1"));
    }

    #[test]
    fn many_threads_together_take_no_more_than_the_count() {
        let (limit, now) = (limit(100), Instant::now());
        let admitted = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let taken = (0..100).filter(|_| limit.admit(numbered(1), now).is_ok()).count();
                    admitted.fetch_add(taken, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(admitted.into_inner(), 100);
    }

    #[test]
    fn a_full_table_gives_newcomers_one_share_and_is_cleaned_when_its_entries_are_spent() {
        let (limit, now) = (limit(3), Instant::now());
        let full = u32::try_from(MAX_ADDRESSES).unwrap();
        assert!((0..full).all(|number| limit.admit(numbered(number), now).is_ok()));
        let newcomers = (full..full + 10).filter(|n| limit.admit(numbered(*n), now).is_ok());
        assert_eq!(newcomers.count(), 3);
        assert_eq!(limit.admit(numbered(1), now), Ok(()), "who is known keeps what is left");
        assert_eq!(limit.table.lock().addresses.len(), MAX_ADDRESSES);
        let later = now + WINDOW;
        assert_eq!(limit.admit(numbered(full), later), Ok(()));
        assert_eq!(limit.table.lock().addresses.len(), 1);
    }

    #[test]
    fn addresses_that_never_come_back_are_forgotten_in_passing() {
        let (limit, start) = (limit(60), Instant::now());
        for number in 0..50_000_u32 {
            // Each is whole again after a second: a thousand are at most live at one time.
            let now = start + Duration::from_millis(u64::from(number));
            assert_eq!(limit.admit(numbered(number), now), Ok(()));
        }
        assert!(limit.table.lock().addresses.len() <= 4 * MIN_SWEEP);
    }
}
