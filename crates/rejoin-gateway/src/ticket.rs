//! Tickets: short-lived secrets that stand for an identity once, where a token must not be seen.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::rand;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use rejoin_core::{Identity, now_ms};
use rejoin_protocol::UserId;
use tokio::time::Instant;

/// How long a ticket is valid: enough for one upgrade over a bad line, too short to be found.
const LIFE: Duration = Duration::from_secs(30);
/// Random bytes of a ticket, which nobody guesses.
const SECRET_BYTES: usize = 32;
/// Tickets of one user that nobody has redeemed.
const MAX_OF_USER: usize = 64;
/// Tickets of all users that nobody has redeemed; about 30 MB with long `caps`.
const MAX_IN_ALL: usize = 65_536;

type Secret = [u8; SECRET_BYTES];

/// The tickets of one server, in memory; a handle.
#[derive(Clone, Default)]
pub struct Tickets {
    /// Held for a few look-ups, and for the removal of what is spent.
    state: Arc<Mutex<State>>,
}

/// A ticket for whoever asked for it.
#[derive(Clone)]
pub struct Ticket {
    /// What is sent as `?ticket=`.
    pub text: String,
    /// When it ends, in milliseconds since the epoch.
    pub expires_at: u64,
}

/// A ticket that is being redeemed: nobody else can use it meanwhile. Dropping it without
/// [`spend`](Self::spend) gives the ticket back.
pub struct HeldTicket {
    tickets: Tickets,
    secret: Secret,
    /// There until it is spent.
    waiting: Option<Waiting>,
}

/// Why there is no other ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// The user has enough.
    #[error("the user has {MAX_OF_USER} tickets that were not used; wait until one has expired")]
    OfUser,
    /// All users together have enough.
    #[error("there are {MAX_IN_ALL} tickets that were not used; wait until one has expired")]
    InAll,
}

#[derive(Default)]
struct State {
    waiting: HashMap<Secret, Waiting>,
    /// The same tickets, the one that ends first in front.
    ends: BTreeSet<(Instant, Secret)>,
    /// How many of them each user has; no zeros.
    of_user: HashMap<UserId, usize>,
}

struct Waiting {
    identity: Identity,
    end: Instant,
}

impl Tickets {
    /// No tickets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a ticket that stands for this identity once, for 30 seconds or until its token ends.
    ///
    /// # Errors
    /// [`TooMany`] if the user, or all users together, have enough that were not redeemed.
    pub fn issue(&self, identity: Identity) -> Result<Ticket, TooMany> {
        let mut secret = [0; SECRET_BYTES];
        rand::fill(&mut secret).expect("the system has random bytes");
        let now = Instant::now();
        let life = u64::try_from(LIFE.as_millis()).expect("seconds are not many milliseconds");
        let expires_at = now_ms().saturating_add(life);
        let expires_at = identity.expires_at.map_or(expires_at, |end| end.min(expires_at));
        self.state.lock().add(secret, Waiting { identity, end: now + LIFE }, now)?;
        Ok(Ticket { text: BASE64_URL_SAFE_NO_PAD.encode(secret), expires_at })
    }

    /// Takes the identity that a ticket stands for; `None` if it is spent, held, expired or made
    /// up.
    ///
    /// Of any number of callers one gets it. Whether the identity was revoked meanwhile is the
    /// verifier's word.
    #[must_use]
    pub fn redeem(&self, ticket: &str) -> Option<Identity> {
        self.hold(ticket).map(HeldTicket::spend)
    }

    /// Holds a ticket while the request that brings it is checked. As [`redeem`](Self::redeem).
    #[must_use]
    pub fn hold(&self, ticket: &str) -> Option<HeldTicket> {
        let mut secret = [0; SECRET_BYTES];
        let decoded = BASE64_URL_SAFE_NO_PAD.decode_slice(ticket, &mut secret);
        if decoded != Ok(SECRET_BYTES) {
            return None;
        }
        let mut state = self.state.lock();
        state.clean(Instant::now());
        let waiting = state.remove(&secret)?;
        drop(state);
        let is_valid = waiting.identity.expires_at.is_none_or(|end| now_ms() < end);
        let tickets = self.clone();
        is_valid.then(|| HeldTicket { tickets, secret, waiting: Some(waiting) })
    }
}

impl HeldTicket {
    /// The identity that it stands for.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.waiting.as_ref().expect("it is there until it is spent").identity
    }

    /// Spends the ticket.
    #[must_use]
    pub fn spend(mut self) -> Identity {
        self.waiting.take().expect("it is spent once").identity
    }
}

impl Drop for HeldTicket {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.tickets.state.lock().insert(self.secret, waiting);
        }
    }
}

impl State {
    fn add(&mut self, secret: Secret, waiting: Waiting, now: Instant) -> Result<(), TooMany> {
        self.clean(now);
        if self.waiting.len() >= MAX_IN_ALL {
            return Err(TooMany::InAll);
        }
        let user = &waiting.identity.user;
        if self.of_user.get(user).is_some_and(|count| *count >= MAX_OF_USER) {
            return Err(TooMany::OfUser);
        }
        self.insert(secret, waiting);
        Ok(())
    }

    fn insert(&mut self, secret: Secret, waiting: Waiting) {
        *self.of_user.entry(waiting.identity.user.clone()).or_default() += 1;
        self.ends.insert((waiting.end, secret));
        self.waiting.insert(secret, waiting);
    }

    /// Removes what has expired: it is in front, and each is removed once.
    fn clean(&mut self, now: Instant) {
        while let Some((end, secret)) = self.ends.first().copied()
            && end <= now
        {
            self.remove(&secret);
        }
    }

    fn remove(&mut self, secret: &Secret) -> Option<Waiting> {
        let waiting = self.waiting.remove(secret)?;
        self.ends.remove(&(waiting.end, *secret));
        let user = &waiting.identity.user;
        if let Some(count) = self.of_user.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.of_user.remove(user);
            }
        }
        Some(waiting)
    }
}

// A ticket must not reach a log.
impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("waiting", &self.state.lock().waiting.len()).finish()
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
