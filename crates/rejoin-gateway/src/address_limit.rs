//! Limits the rate of new WebSockets, or of log-ins, per client address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::gcra::{Gcra, Rate};

/// The maximum number of addresses in the table. Bounds the memory that an attacker can use.
const MAX_ADDRESSES: usize = 65_536;
/// The number of addresses below which the table is not swept.
const MIN_SWEEP: usize = 1024;
/// The minimum time between two sweeps. Without it, an attacker that fills the table would make
/// each new connection pay for a sweep.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// A rate limit per address.
#[derive(Debug)]
pub(crate) struct AddressLimit {
    rate: Option<Rate>,
    /// Held for one lookup or one sweep.
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    addresses: HashMap<IpAddr, Gcra>,
    /// The limit shared by all addresses that have no entry because the table is full.
    overflow: Gcra,
    /// The size at which the next sweep is due. Twice the size after the last one, so that
    /// sweeping costs amortized constant time per insertion.
    sweep_at: usize,
    swept: Option<Instant>,
}

impl AddressLimit {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        let table = Table {
            addresses: HashMap::new(),
            overflow: Gcra::default(),
            sweep_at: MIN_SWEEP,
            swept: None,
        };

        Self { rate, table: Mutex::new(table) }
    }

    /// Counts a new connection or a log-in against the limit of its address.
    ///
    /// # Errors
    /// The time after which the address may try again.
    pub(crate) fn admit(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(rate) = &self.rate else { return Ok(()) };

        let mut table = self.table.lock();
        table.entry(network(address), now).take(rate, now, 1)
    }
}

impl Table {
    /// Returns the entry of an address, or the shared one if the table is full.
    fn entry(&mut self, address: IpAddr, now: Instant) -> &mut Gcra {
        // A known address needs no room, even if the table is full.
        if !self.addresses.contains_key(&address) {
            self.sweep(now);
            if self.addresses.len() >= MAX_ADDRESSES {
                // A shared limit instead of a refusal: an attacker with many addresses slows new
                // ones down, but does not lock them out.
                return &mut self.overflow;
            }
        }

        self.addresses.entry(address).or_default()
    }

    /// Removes the addresses whose limits are full again, if a sweep is due.
    fn sweep(&mut self, now: Instant) {
        let is_soon = self.swept.is_some_and(|swept| now < swept + SWEEP_PAUSE);
        if self.addresses.len() < self.sweep_at || is_soon {
            return;
        }

        // A full limit behaves like a new one, so removing it changes nothing.
        self.addresses.retain(|_, gcra| !gcra.is_full(now));
        self.sweep_at = (self.addresses.len() * 2).clamp(MIN_SWEEP, MAX_ADDRESSES);
        // Without this, the table would keep the memory of the largest attack forever.
        self.addresses.shrink_to(self.sweep_at);
        self.swept = Some(now);
    }
}

/// Returns the address under which a client is counted.
///
/// An IPv6 client is counted by its /64 network, because providers assign whole networks.
fn network(address: IpAddr) -> IpAddr {
    // An IPv4 client of a dual-stack listener has an IPv4-mapped IPv6 address, and all of those
    // share one /64 network.
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
    fn an_address_that_used_its_count_must_wait() {
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
    fn an_ipv6_network_counts_as_one_address() {
        let (limit, now) = (limit(1), Instant::now());
        let admit = |address: &str| limit.admit(address.parse().unwrap(), now).is_ok();
        assert!(admit("2001:db8:0:1::1"));
        assert!(!admit("2001:db8:0:1:ffff::2"));
        assert!(admit("2001:db8:0:2::1"));
    }

    #[test]
    fn threads_together_never_exceed_the_count() {
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
    fn a_full_table_shares_one_limit_until_it_is_swept() {
        let (limit, now) = (limit(3), Instant::now());
        let full = u32::try_from(MAX_ADDRESSES).unwrap();
        assert!((0..full).all(|number| limit.admit(numbered(number), now).is_ok()));

        let newcomers = (full..full + 10).filter(|n| limit.admit(numbered(*n), now).is_ok());
        assert_eq!(newcomers.count(), 3);
        assert_eq!(limit.admit(numbered(1), now), Ok(()), "a known address keeps its own limit");
        assert_eq!(limit.table.lock().addresses.len(), MAX_ADDRESSES);

        let later = now + WINDOW;
        assert_eq!(limit.admit(numbered(full), later), Ok(()));
        assert_eq!(limit.table.lock().addresses.len(), 1);
    }

    #[test]
    fn addresses_that_do_not_return_are_removed() {
        let (limit, start) = (limit(60), Instant::now());
        for number in 0..50_000_u32 {
            // Each limit is full again after a second, so at most a thousand are in use.
            let now = start + Duration::from_millis(u64::from(number));
            assert_eq!(limit.admit(numbered(number), now), Ok(()));
        }

        assert!(limit.table.lock().addresses.len() <= 4 * MIN_SWEEP);
    }
}
