//! Revocations: what an administrator has taken back before its time.

mod clock;
mod file;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use rejoin_core::Identity;
use rejoin_protocol::UserId;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    revocation::{
        clock::{Entry, Now},
        file::Kept,
    },
    token::MAX_TOKEN_ID_BYTES,
};

/// How long something is revoked if nobody says otherwise, in milliseconds: 30 days.
///
/// After it, a token without an end, or with a later one, is good again.
const DEFAULT_LIFE_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// How often the time that is left is written.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// How many there may be: about 10 MB of memory, and of the file that each change writes.
const MAX_REVOCATIONS: usize = 100_000;

/// What can be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Each of a user's tokens that was made up to now; one that does not say when counts as old.
    ///
    /// Tokens tell whole seconds, so one that is made within the same second counts as old too.
    User(UserId),
    /// The token with this id, its claim `jti`.
    Token(Box<str>),
}

/// Something that was taken back; times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// What.
    pub target: Target,
    /// When.
    pub revoked_at: u64,
    /// When it is forgotten, unless the server has run for less than that time: a clock that
    /// jumps ahead ends nothing.
    pub until: u64,
}

/// Why a revocation is not, or not safely, there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// There are enough.
    #[error("there are {MAX_REVOCATIONS} revocations; lift some, or change the key that signs")]
    TooMany,
    /// No token can have such an id.
    #[error("a token id must be 1 to {MAX_TOKEN_ID_BYTES} bytes")]
    InvalidTokenId,
    /// It would be forgotten at once.
    #[error("the time until which to revoke is over")]
    Past,
    /// The change is in effect, but a restart would undo it.
    #[error("the change is in effect until a restart, but cannot be written to {path}: {error}")]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: Arc<io::Error>,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    NotRead {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is not what this server writes.
    #[error(
        "{path} is damaged: {why}; without it revoked tokens would be good again, so repair or remove it"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// What was revoked; a handle.
#[derive(Clone, Debug)]
pub struct Revocations {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Taken for look-ups and for single changes, never while something is written.
    entries: RwLock<Entries>,
    /// How many entries there are, so that nobody takes the lock where nothing is revoked;
    /// written with `entries` locked.
    count: AtomicUsize,
    /// Where they are kept; `None`: in memory only.
    path: Option<PathBuf>,
    /// The version that is on disk. Held while the file is written, on threads that may wait:
    /// who comes meanwhile finds a version that has his change.
    written: Mutex<u64>,
}

#[derive(Debug, Default)]
struct Entries {
    users: HashMap<UserId, Entry>,
    tokens: HashMap<Box<str>, Entry>,
    /// No entry ends sooner, so that they are not all looked at for each change.
    soonest: u64,
    /// Counts the changes.
    version: u64,
}

impl Revocations {
    /// Nothing is revoked, and what will be is forgotten with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::with(Entries::default(), None)
    }

    /// What the file says; each change is written to it. No file: nothing is revoked.
    ///
    /// Reads at once, so call it before there is anybody to serve.
    ///
    /// # Errors
    /// [`RevocationError::NotRead`] and [`RevocationError::Damaged`].
    pub fn open(path: &Path) -> Result<Self, RevocationError> {
        let now = Now::new();
        let mut entries = Entries::default();
        for Kept { revocation, left_ms } in file::read(path)? {
            // Without it the file is of a version that had one clock only.
            let Revocation { revoked_at, until, .. } = revocation;
            let left_ms = left_ms.unwrap_or(until.saturating_sub(revoked_at));
            if until > now.day || left_ms > 0 {
                entries.put(revocation, left_ms, now).map_err(|error| {
                    RevocationError::Damaged { path: path.to_owned(), why: error.to_string() }
                })?;
            }
        }
        Ok(Self::with(entries, Some(path.to_owned())))
    }

    fn with(entries: Entries, path: Option<PathBuf>) -> Self {
        let count = AtomicUsize::new(entries.len());
        let written = Mutex::new(entries.version);
        Self { shared: Arc::new(Shared { entries: RwLock::new(entries), count, path, written }) }
    }

    /// Revokes, until a time (milliseconds since the epoch; by default for 30 days).
    ///
    /// It is in effect before it is written, and acknowledged after it. A user who is revoked
    /// already is revoked up to now; the later end counts.
    /// Cancel safe: a change that has begun is written.
    ///
    /// # Errors
    /// [`RevocationError`]; with [`RevocationError::NotWritten`] it is in effect nevertheless.
    pub async fn revoke(
        &self,
        target: Target,
        until: Option<u64>,
    ) -> Result<Revocation, RevocationError> {
        let now = Now::new();
        let until = until.unwrap_or(now.day.saturating_add(DEFAULT_LIFE_MS));
        let revocation = Revocation { target, revoked_at: now.day, until };
        let (revocation, version) = self.change(|entries| entries.insert(revocation, now))?;
        self.write(version).await?;
        Ok(revocation)
    }

    /// Takes a revocation back; returns whether there was one.
    ///
    /// # Errors
    /// [`RevocationError::NotWritten`]; it is lifted nevertheless, until a restart.
    pub async fn lift(&self, target: &Target) -> Result<bool, RevocationError> {
        let now = Now::new();
        let removed = |entries: &mut Entries| {
            entries.forget(now);
            Ok::<_, RevocationError>(entries.remove(target))
        };
        let (there, version) = self.change(removed)?;
        if there {
            self.write(version).await?;
        }
        Ok(there)
    }

    /// What is revoked, in no order.
    #[must_use]
    pub fn list(&self) -> Vec<Revocation> {
        let entries = self.shared.entries.read();
        entries.list(Now::new()).into_iter().map(|kept| kept.revocation).collect()
    }

    /// Writes the file again each hour, so that the second clock goes on after a restart.
    pub(crate) async fn keep_time(&self) {
        loop {
            tokio::time::sleep(HOUR).await;
            if self.shared.count.load(Ordering::Acquire) == 0 {
                continue;
            }
            let forgotten = |entries: &mut Entries| {
                entries.forget(Now::new());
                Ok::<_, RevocationError>(())
            };
            let written = match self.change(forgotten) {
                Ok(((), version)) => self.write(version).await,
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                warn!(%error, "revocations may be kept for longer than they should");
            }
        }
    }

    /// Whether the token of this identity is revoked.
    #[must_use]
    pub fn is_revoked(&self, identity: &Identity) -> bool {
        if self.shared.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        self.shared.entries.read().is_revoked(identity, Now::new())
    }

    fn change<T, E>(
        &self,
        change: impl FnOnce(&mut Entries) -> Result<T, E>,
    ) -> Result<(T, u64), E> {
        let mut entries = self.shared.entries.write();
        let result = change(&mut entries);
        entries.version += 1;
        self.shared.count.store(entries.len(), Ordering::Release);
        Ok((result?, entries.version))
    }

    /// Waits until this version, or a later one, is on disk.
    async fn write(&self, version: u64) -> Result<(), RevocationError> {
        let Some(path) = self.shared.path.clone() else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        let target = path.clone();
        let written = tokio::task::spawn_blocking(move || shared.write(&target, version));
        written.await.unwrap_or_else(|error| {
            // The runtime ends, and nobody knows how far it came.
            Err(RevocationError::NotWritten { path, error: Arc::new(io::Error::other(error)) })
        })
    }
}

impl Shared {
    fn write(&self, path: &Path, version: u64) -> Result<(), RevocationError> {
        let mut written = self.written.lock();
        if *written >= version {
            return Ok(());
        }
        let (list, newest) = {
            let entries = self.entries.read();
            (entries.list(Now::new()), entries.version)
        };
        file::write(path, &list).map_err(|error| RevocationError::NotWritten {
            path: path.to_owned(),
            error: Arc::new(error),
        })?;
        *written = newest;
        Ok(())
    }
}

impl Entries {
    fn len(&self) -> usize {
        self.users.len() + self.tokens.len()
    }

    fn insert(&mut self, revocation: Revocation, now: Now) -> Result<Revocation, RevocationError> {
        if revocation.until <= now.day {
            return Err(RevocationError::Past);
        }
        let left_ms = revocation.until - now.day;
        self.put(revocation, left_ms, now)
    }

    /// Inserts what has so much time left by the second clock.
    fn put(
        &mut self,
        revocation: Revocation,
        left_ms: u64,
        now: Now,
    ) -> Result<Revocation, RevocationError> {
        let Revocation { target, revoked_at, until } = revocation;
        if let Target::Token(id) = &target
            && (id.is_empty() || id.len() > MAX_TOKEN_ID_BYTES)
        {
            return Err(RevocationError::InvalidTokenId);
        }
        self.forget(now);
        self.soonest = self.soonest.min(until);
        let known = self.get(&target);
        if known.is_none() && self.len() >= MAX_REVOCATIONS {
            return Err(RevocationError::TooMany);
        }
        let until = known.map_or(until, |known| known.until.max(until));
        let ends_at = now.after(left_ms);
        let ends_at = known.map_or(ends_at, |known| known.ends_at.max(ends_at));
        let entry = Entry { revoked_at, until, ends_at };
        match &target {
            Target::User(user) => self.users.insert(user.clone(), entry),
            Target::Token(id) => self.tokens.insert(id.clone(), entry),
        };
        Ok(Revocation { target, revoked_at, until })
    }

    fn get(&self, target: &Target) -> Option<Entry> {
        match target {
            Target::User(user) => self.users.get(user).copied(),
            Target::Token(id) => self.tokens.get(id).copied(),
        }
    }

    fn remove(&mut self, target: &Target) -> bool {
        match target {
            Target::User(user) => self.users.remove(user).is_some(),
            Target::Token(id) => self.tokens.remove(id).is_some(),
        }
    }

    /// Removes what is over by both clocks.
    fn forget(&mut self, now: Now) {
        if now.day < self.soonest {
            return;
        }
        self.users.retain(|_, entry| !entry.is_over(now));
        self.tokens.retain(|_, entry| !entry.is_over(now));
        let left = self.users.values().chain(self.tokens.values());
        self.soonest = left.map(|entry| entry.until).min().unwrap_or(u64::MAX);
    }

    fn list(&self, now: Now) -> Vec<Kept> {
        let users = self.users.iter().map(|(user, entry)| (Target::User(user.clone()), *entry));
        let tokens = self.tokens.iter().map(|(id, entry)| (Target::Token(id.clone()), *entry));
        users
            .chain(tokens)
            .filter(|(_, entry)| !entry.is_over(now))
            .map(|(target, entry)| {
                let Entry { revoked_at, until, .. } = entry;
                let revocation = Revocation { target, revoked_at, until };
                Kept { revocation, left_ms: Some(entry.left_ms(now)) }
            })
            .collect()
    }

    fn is_revoked(&self, identity: &Identity, now: Now) -> bool {
        let of_user = self.users.get(&identity.user).is_some_and(|entry| {
            !entry.is_over(now) && identity.issued_at.is_none_or(|made| made <= entry.revoked_at)
        });
        let of_token = || {
            let entry = identity.token_id.as_ref().and_then(|id| self.tokens.get(id));
            entry.is_some_and(|entry| !entry.is_over(now))
        };
        of_user || of_token()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const ID: &str = "a";

    fn identity() -> Identity {
        Identity {
            user: UserId::new("ann").unwrap(),
            device: None,
            caps: rejoin_core::Caps::default(),
            expires_at: None,
            issued_at: None,
            token_id: Some(ID.into()),
            role_context: None,
            browser_session: None,
        }
    }

    fn revoke(entries: &mut Entries, now: Now, until: u64) {
        let target = Target::Token(ID.into());
        entries.insert(Revocation { target, revoked_at: now.day, until }, now).unwrap();
    }

    #[test]
    fn a_revocation_is_over_when_both_clocks_say_so() {
        let begin = Now { day: 1000, at: Instant::now() };
        // By how much each clock has advanced, and whether it is over.
        for (day, at, is_over) in [
            (999, 999, false),
            (1000, 999, false),
            (999, 1000, false),
            (1000, 1000, true),
            (40 * 24 * 60 * 60 * 1000, 10, false),
        ] {
            let mut entries = Entries::default();
            revoke(&mut entries, begin, 2000);
            let now = Now { day: begin.day + day, at: begin.at + Duration::from_millis(at) };
            assert_eq!(entries.is_revoked(&identity(), now), !is_over, "{day} {at}");
            entries.forget(now);
            assert_eq!(
                (entries.len(), entries.list(now).len()),
                ((!is_over).into(), (!is_over).into())
            );
            // A clock that is set right again changes nothing.
            assert_eq!(entries.is_revoked(&identity(), begin), !is_over, "{day} {at}");
        }
    }

    #[test]
    fn the_later_end_of_two_revocations_counts() {
        let begin = Now { day: 1000, at: Instant::now() };
        let mut entries = Entries::default();
        revoke(&mut entries, begin, 3000);
        revoke(&mut entries, begin, 2000);
        let now = Now { day: 2999, at: begin.at + Duration::from_secs(10) };
        assert!(entries.is_revoked(&identity(), now));
        assert!(!entries.is_revoked(&identity(), Now { day: 3000, ..now }));
    }
}
