//! Tickets: short-lived secrets that stand for an identity once, for URLs that logs record.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rejoin_core::{Identity, now_ms};
use rejoin_protocol::UserId;
use tokio::time::Instant;

use crate::secret::{self, Hash};

/// The life of a ticket, in milliseconds: enough for one upgrade over a bad line, too short for
/// an attacker who reads logs.
const LIFE_MS: u64 = 30_000;
/// The maximum number of unspent tickets of one user.
const MAX_PER_USER: usize = 64;
/// The maximum number of unspent tickets of all users: about 30 MB with long `caps`.
const MAX_TOTAL: usize = 65_536;

/// The tickets of one server, in memory. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tickets {
    /// Held for a few lookups, and to remove spent tickets.
    state: Arc<Mutex<State>>,
}

/// A ticket for a client.
#[derive(Clone)]
pub struct Ticket {
    /// The value of `?ticket=`.
    pub text: String,
    /// The expiry, in milliseconds since the epoch.
    pub expires_at: u64,
}

/// A ticket that is held while a request is checked. Another request cannot use it meanwhile.
///
/// Dropping it without [`spend`](Self::spend) gives the ticket back.
pub struct HeldTicket {
    tickets: Tickets,
    hash: Hash,
    /// `None` once spent.
    unspent: Option<Unspent>,
}

/// The reason why no ticket is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// The user has too many unspent tickets.
    #[error("the user has {MAX_PER_USER} unused tickets; wait until one has expired")]
    OfUser,
    /// All users together have too many unspent tickets.
    #[error("the server has {MAX_TOTAL} unused tickets; wait until one has expired")]
    InAll,
}

#[derive(Default)]
struct State {
    unspent: HashMap<Hash, Unspent>,
    /// The same tickets, ordered by their expiry.
    expiries: BTreeSet<(Instant, Hash)>,
    /// The number of tickets of each user. Never 0.
    counts: HashMap<UserId, usize>,
}

struct Unspent {
    identity: Identity,
    expires: Instant,
}

impl Tickets {
    /// Returns an empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Issues a ticket that stands for this identity once, for 30 seconds or until its token
    /// expires.
    ///
    /// # Errors
    /// [`TooMany`] if the user, or all users together, have too many unspent tickets.
    pub fn issue(&self, identity: Identity) -> Result<Ticket, TooMany> {
        let (text, hash) = secret::generate();
        let now = Instant::now();
        let expires = now + Duration::from_millis(LIFE_MS);
        let expires_at = now_ms().saturating_add(LIFE_MS);
        let expires_at = identity.expires_at.map_or(expires_at, |end| end.min(expires_at));

        self.state.lock().add(hash, Unspent { identity, expires }, now)?;
        Ok(Ticket { text, expires_at })
    }

    /// Spends a ticket. Returns `None` if it is spent, held, expired or unknown.
    ///
    /// Of concurrent callers, one gets the identity. The caller checks that the identity is not
    /// revoked, with [`Verifier::recheck`](crate::Verifier::recheck).
    #[must_use]
    pub fn redeem(&self, ticket: &str) -> Option<Identity> {
        self.hold(ticket).map(HeldTicket::spend)
    }

    /// Holds a ticket while its request is checked. Returns `None` as [`redeem`](Self::redeem).
    #[must_use]
    pub fn hold(&self, ticket: &str) -> Option<HeldTicket> {
        let hash = secret::hash(ticket)?;
        let mut state = self.state.lock();
        state.remove_expired(Instant::now());
        // Removed, not only looked up: of concurrent requests, one finds it.
        let unspent = state.remove(&hash)?;
        drop(state);

        let is_valid = unspent.identity.expires_at.is_none_or(|end| now_ms() < end);
        let tickets = self.clone();
        is_valid.then(|| HeldTicket { tickets, hash, unspent: Some(unspent) })
    }
}

impl HeldTicket {
    /// Returns the identity that the ticket stands for.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.unspent.as_ref().expect("only `spend` takes it").identity
    }

    /// Spends the ticket, and returns its identity.
    #[must_use]
    pub fn spend(mut self) -> Identity {
        self.unspent.take().expect("only `spend` takes it").identity
    }
}

impl Drop for HeldTicket {
    fn drop(&mut self) {
        if let Some(unspent) = self.unspent.take() {
            // It may have expired meanwhile. The next lookup removes it then.
            self.tickets.state.lock().insert(self.hash, unspent);
        }
    }
}

impl State {
    fn add(&mut self, hash: Hash, unspent: Unspent, now: Instant) -> Result<(), TooMany> {
        self.remove_expired(now);
        if self.unspent.len() >= MAX_TOTAL {
            return Err(TooMany::InAll);
        }
        let user = &unspent.identity.user;
        if self.counts.get(user).is_some_and(|count| *count >= MAX_PER_USER) {
            return Err(TooMany::OfUser);
        }
        self.insert(hash, unspent);
        Ok(())
    }

    fn insert(&mut self, hash: Hash, unspent: Unspent) {
        *self.counts.entry(unspent.identity.user.clone()).or_default() += 1;
        self.expiries.insert((unspent.expires, hash));
        self.unspent.insert(hash, unspent);
    }

    fn remove_expired(&mut self, now: Instant) {
        while let Some((expires, hash)) = self.expiries.first().copied()
            && expires <= now
        {
            self.remove(&hash);
        }
    }

    fn remove(&mut self, hash: &Hash) -> Option<Unspent> {
        let unspent = self.unspent.remove(hash)?;
        self.expiries.remove(&(unspent.expires, *hash));
        let user = &unspent.identity.user;
        if let Some(count) = self.counts.get_mut(user) {
            *count -= 1;
            // Users come and go: an entry with zero would never be removed.
            if *count == 0 {
                self.counts.remove(user);
            }
        }
        Some(unspent)
    }
}

// A ticket must not reach a log.
impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("unspent", &self.state.lock().unspent.len()).finish()
    }
}

// A ticket must not reach a log.
impl fmt::Debug for HeldTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldTicket").finish_non_exhaustive()
    }
}

// A ticket must not reach a log.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}
