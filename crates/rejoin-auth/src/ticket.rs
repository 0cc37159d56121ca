//! Tickets: short-lived secrets that stand for an identity once, for URLs that logs record.

mod files;

use std::{
    collections::{BTreeSet, HashMap},
    fmt, io, mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rejoin_core::{Identity, MachineClock, now_ms};
use rejoin_protocol::UserId;
use tokio::time::Instant;

use crate::{
    secret::{self, Hash},
    state_file::write_blocking,
    ticket::files::TicketFiles,
};

/// The life of a ticket, in milliseconds: enough for one upgrade over a bad line, too short for
/// an attacker who reads logs.
const LIFE_MS: u64 = 30_000;
/// The maximum number of unspent tickets of one user.
const MAX_PER_USER: usize = 64;
/// The maximum number of unspent tickets of all users: about 30 MB in memory with long `caps`.
const MAX_TOTAL: usize = 65_536;

/// The tickets of one server. Cheap to clone.
#[derive(Clone)]
pub struct Tickets {
    shared: Arc<Shared>,
}

struct Shared {
    /// Held for a few lookups and changes, never while a file is written.
    state: Mutex<State>,
    /// `None`: the tickets end with the process.
    files: Option<TicketFiles>,
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

/// The reason why a ticket is not issued or not spent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// The user has too many unspent tickets.
    #[error("the user has {MAX_PER_USER} unused tickets; wait until one has expired")]
    TooManyOfUser,
    /// All users together have too many unspent tickets.
    #[error("the server has {MAX_TOTAL} unused tickets; wait until one has expired")]
    TooMany,
    /// The files of the tickets cannot be read or written.
    #[error("cannot read or write tickets in {directory}: {error}")]
    Files {
        /// The directory.
        directory: PathBuf,
        /// The operating system's error.
        error: io::Error,
    },
}

#[derive(Default)]
struct State {
    unspent: HashMap<Hash, Unspent>,
    /// The same tickets, ordered by their expiry.
    expiries: BTreeSet<(Instant, Hash)>,
    /// The number of tickets of each user. Never 0.
    counts: HashMap<UserId, usize>,
    /// Expired tickets whose files are not removed. At most [`MAX_TOTAL`]: each new ticket takes
    /// all of them.
    expired: Vec<Hash>,
}

struct Unspent {
    identity: Identity,
    expires: Instant,
}

impl Tickets {
    /// Returns an empty table, whose tickets end with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), files: None }) }
    }

    /// Reads the tickets in a directory, which one process uses at a time. Does blocking I/O.
    ///
    /// A ticket of an earlier process works if it is unspent and its time on `clock` is not over.
    ///
    /// # Errors
    /// [`TicketError::Files`] if the directory cannot be created or read.
    pub fn open(directory: &Path, clock: MachineClock) -> Result<Self, TicketError> {
        let files = TicketFiles::new(directory, clock);
        let mut state = State::default();
        let stored = files.load().map_err(|error| files.error(error))?;
        for (hash, identity, left) in stored {
            state.insert(hash, Unspent { identity, expires: Instant::now() + left });
        }
        Ok(Self { shared: Arc::new(Shared { state: Mutex::new(state), files: Some(files) }) })
    }

    /// Issues a ticket that stands for this identity once, for 30 seconds or until its token
    /// expires.
    ///
    /// If this returns, the ticket survives a crash of the process. Cancel safe: no client has a
    /// ticket whose issue was cancelled.
    ///
    /// # Errors
    /// [`TicketError`].
    pub async fn issue(&self, identity: Identity) -> Result<Ticket, TicketError> {
        let (text, hash) = secret::generate();
        let now = Instant::now();
        let expires_at = now_ms().saturating_add(LIFE_MS);
        let expires_at = identity.expires_at.map_or(expires_at, |end| end.min(expires_at));
        let ticket = Ticket { text, expires_at };

        let expires = now + Duration::from_millis(LIFE_MS);
        let unspent = Unspent { identity: identity.clone(), expires };
        let expired = self.shared.state.lock().add(hash, unspent, now)?;
        let Some(files) = &self.shared.files else { return Ok(ticket) };

        let writer = files.clone();
        let write = move || {
            // These take room, and no other call removes them.
            expired.iter().try_for_each(|hash| writer.remove(hash))?;
            writer.write(&hash, &identity)
        };
        if let Err(error) = write_blocking(write).await {
            self.shared.state.lock().remove(&hash);
            return Err(files.error(error));
        }
        Ok(ticket)
    }

    /// Holds a ticket while its request is checked. Returns `None` if it is spent, held, expired
    /// or unknown.
    ///
    /// Of concurrent callers, one gets the ticket. The caller checks that the identity is not
    /// revoked, with [`Verifier::recheck`](crate::Verifier::recheck).
    #[must_use]
    pub fn hold(&self, ticket: &str) -> Option<HeldTicket> {
        let hash = secret::hash(ticket)?;
        let mut state = self.shared.state.lock();
        // An expired one stays until the next issue, which also removes its file.
        state.unspent.get(&hash).filter(|it| Instant::now() < it.expires)?;
        // Removed, not only looked up: of concurrent requests, one finds it.
        let unspent = state.remove(&hash)?;
        drop(state);

        let held = HeldTicket { tickets: self.clone(), hash, unspent: Some(unspent) };
        let end = held.identity().expires_at;
        end.is_none_or(|end| now_ms() < end).then_some(held)
    }
}

impl HeldTicket {
    /// Returns the identity that the ticket stands for.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.unspent.as_ref().expect("only `spend` takes it").identity
    }

    /// Spends the ticket. If this returns, no later process accepts the ticket either.
    ///
    /// Cancel safe: a removal that has started is completed.
    ///
    /// # Errors
    /// [`TicketError::Files`]. The ticket is given back.
    pub async fn spend(mut self) -> Result<(), TicketError> {
        let Some(files) = self.tickets.shared.files.clone() else {
            self.unspent = None;
            return Ok(());
        };

        let remover = files.clone();
        // Moves the ticket: a cancelled caller must not give it back during the removal.
        let remove = move || {
            remover.remove(&self.hash)?;
            self.unspent = None;
            Ok(())
        };
        write_blocking(remove).await.map_err(|error| files.error(error))
    }
}

impl Drop for HeldTicket {
    fn drop(&mut self) {
        if let Some(unspent) = self.unspent.take() {
            // Also one that has expired meanwhile: the next issue removes it with its file.
            self.tickets.shared.state.lock().insert(self.hash, unspent);
        }
    }
}

impl State {
    /// Adds a ticket. Returns the tickets that have expired since the last call that returned some.
    fn add(
        &mut self,
        hash: Hash,
        unspent: Unspent,
        now: Instant,
    ) -> Result<Vec<Hash>, TicketError> {
        self.remove_expired(now);
        let user = &unspent.identity.user;
        let refusal = if self.unspent.len() >= MAX_TOTAL {
            TicketError::TooMany
        } else if self.counts.get(user).is_some_and(|count| *count >= MAX_PER_USER) {
            TicketError::TooManyOfUser
        } else {
            self.insert(hash, unspent);
            return Ok(mem::take(&mut self.expired));
        };
        Err(refusal)
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
            self.expired.push(hash);
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
        f.debug_struct("Tickets").field("unspent", &self.shared.state.lock().unspent.len()).finish()
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
