//! Revocations of tokens and of users, by administrators.

mod clock;
mod entries;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use rejoin_core::Identity;
use rejoin_protocol::UserId;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    revocation::{clock::Now, entries::Entries},
    state_file::{self, ReadError, StateFile},
    token::MAX_TOKEN_ID_BYTES,
};

/// The default life of a revocation, in milliseconds: 30 days.
///
/// After it, a token without an expiry, or with a later one, is valid again.
const DEFAULT_LIFE_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// The interval at which the remaining times are written.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// The maximum number of revocations: about 10 MB in memory, and in the file that each change
/// rewrites.
const MAX_REVOCATIONS: usize = 100_000;

/// The target of a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// All tokens of a user that were issued up to the revocation.
    ///
    /// A token without `iat` counts as issued before. `iat` has whole seconds, so a token issued
    /// in the same second counts as issued before, too.
    User(UserId),
    /// The token with this id, its claim `jti`.
    Token(Box<str>),
}

/// A revocation. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The revoked user or token.
    pub target: Target,
    /// The time of the revocation.
    pub revoked_at: u64,
    /// The expiry. A wall clock that jumps ahead does not bring it forward: the server must also
    /// have run for that long.
    pub until: u64,
}

/// The reason why a revocation is not in effect, or not on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// The limit is reached.
    #[error("there are {MAX_REVOCATIONS} revocations; lift some, or change the signing key")]
    TooMany,
    /// No token can have this id.
    #[error("a token id must be 1 to {MAX_TOKEN_ID_BYTES} bytes")]
    InvalidTokenId,
    /// The expiry is in the past.
    #[error("the time until which to revoke is in the past")]
    Past,
    /// The change is in effect, but a restart would undo it.
    #[error("the change is in effect until a restart, but cannot be written to {path}: {error}")]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        error: Arc<io::Error>,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    NotRead {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        error: io::Error,
    },
    /// The content of the file is not what this server writes.
    #[error(
        "{path} is damaged: {why}; without it revoked tokens would be valid again, so repair or \
         remove it"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first error in the content.
        why: String,
    },
}

/// The revocations of one server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Revocations {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Held for lookups and single changes, never while the file is written.
    entries: RwLock<Entries>,
    /// The number of entries, so that lookups in an empty table take no lock. Written with
    /// `entries` locked.
    count: AtomicUsize,
    /// `None`: the revocations are in memory only.
    file: Option<StateFile>,
}

impl Revocations {
    /// Returns an empty list, which ends with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(Entries::default(), None)
    }

    /// Reads the revocations of a file. Without a file, there are none.
    ///
    /// Each change is written to the file. Does blocking I/O.
    ///
    /// # Errors
    /// [`RevocationError::NotRead`] and [`RevocationError::Damaged`].
    pub fn open(path: &Path) -> Result<Self, RevocationError> {
        let damaged = |why| RevocationError::Damaged { path: path.to_owned(), why };
        let stored = state_file::read(path).map_err(|error| match error {
            ReadError::Io(error) => RevocationError::NotRead { path: path.to_owned(), error },
            ReadError::Damaged(why) => damaged(why),
        })?;

        let entries = match stored {
            Some(stored) => Entries::restore(stored, Now::new()).map_err(damaged)?,
            None => Entries::default(),
        };
        let file = StateFile::new(path, entries.version());
        Ok(Self::new(entries, Some(file)))
    }

    fn new(entries: Entries, file: Option<StateFile>) -> Self {
        let count = AtomicUsize::new(entries.len());
        Self { shared: Arc::new(Shared { entries: RwLock::new(entries), count, file }) }
    }

    /// Revokes a target until a time in milliseconds since the epoch, by default for 30 days.
    ///
    /// The revocation is in effect at once, and on disk when this returns. A second revocation of
    /// a user covers the tokens issued up to now; of two expiries the later counts.
    /// Cancel safe: a write that has started is completed.
    ///
    /// # Errors
    /// [`RevocationError`]. After [`RevocationError::NotWritten`] it is in effect nevertheless.
    pub async fn revoke(
        &self,
        target: Target,
        until: Option<u64>,
    ) -> Result<Revocation, RevocationError> {
        let now = Now::new();
        let until = until.unwrap_or(now.wall.saturating_add(DEFAULT_LIFE_MS));
        let revocation = Revocation { target, revoked_at: now.wall, until };

        // In effect from here on, before the write.
        let (revocation, version) = self.change(|entries| entries.insert(revocation, now));
        let revocation = revocation?;
        self.write(version).await?;
        Ok(revocation)
    }

    /// Lifts a revocation. Returns `true` if the target was revoked.
    ///
    /// # Errors
    /// [`RevocationError::NotWritten`]. The revocation is lifted nevertheless, until a restart.
    pub async fn lift(&self, target: &Target) -> Result<bool, RevocationError> {
        let now = Now::new();
        let (removed, version) = self.change(|entries| {
            entries.remove_expired(now);
            entries.remove(target)
        });
        if removed {
            self.write(version).await?;
        }
        Ok(removed)
    }

    /// Returns the revocations that have not expired, in no order.
    #[must_use]
    pub fn list(&self) -> Vec<Revocation> {
        self.shared.entries.read().list(Now::new())
    }

    /// Writes the remaining times each hour, so that they survive a restart. Never completes.
    ///
    /// Cancel safe.
    pub async fn save_hourly(&self) {
        loop {
            tokio::time::sleep(HOUR).await;
            if self.shared.count.load(Ordering::Acquire) == 0 {
                continue;
            }
            // A change of its own: a write without a new version would be skipped.
            let ((), version) = self.change(|entries| entries.remove_expired(Now::new()));
            if let Err(error) = self.write(version).await {
                warn!(%error, "after a restart, revocations may last longer than they should");
            }
        }
    }

    /// Returns `true` if the identity's user or token is revoked.
    #[must_use]
    pub fn is_revoked(&self, identity: &Identity) -> bool {
        // The usual case. This runs for each message of each connection.
        if self.shared.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        self.shared.entries.read().is_revoked(identity, Now::new())
    }

    fn change<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> (T, u64) {
        let mut entries = self.shared.entries.write();
        let result = change(&mut entries);
        entries.record_change();
        // With the lock held, so that the count never lags behind the entries.
        self.shared.count.store(entries.len(), Ordering::Release);
        (result, entries.version())
    }

    /// Waits until this version, or a later one, is on disk.
    async fn write(&self, version: u64) -> Result<(), RevocationError> {
        let Some(file) = &self.shared.file else { return Ok(()) };
        let shared = Arc::clone(&self.shared);

        let written = state_file::write_blocking(move || shared.write(version)).await;
        written.map_err(|error| RevocationError::NotWritten {
            path: file.path().to_owned(),
            error: Arc::new(error),
        })
    }
}

impl Shared {
    fn write(&self, version: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.write(version, || {
            let entries = self.entries.read();
            // Content and version under one lock, so that no change is counted as written too
            // early.
            Ok((state_file::to_json(&entries.stored(Now::new()))?, entries.version()))
        })
    }
}
