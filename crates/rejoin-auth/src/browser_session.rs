//! Browser sessions: log-ins that the server keeps. A browser has only an opaque cookie.

mod entries;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;
use rejoin_core::{Identity, now_ms};
use rejoin_protocol::{DeviceId, DeviceName, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    secret,
    state_file::{self, ReadError, StateFile},
};
use entries::{Entries, Entry, IDLE_MS, MAX_SESSION_BYTES};

/// The browser sessions of one server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BrowserSessions {
    shared: Arc<Shared>,
}

/// The reason why a browser session does not start, or is not on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrowserSessionError {
    /// The rights of the token are too long to keep.
    #[error(
        "the log-in takes more than {MAX_SESSION_BYTES} bytes; use a token with shorter `caps`"
    )]
    TooLong,
    /// The change is in effect, but a restart would undo it.
    #[error("the change is in effect until a restart, but cannot be written to {path}: {error}")]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        error: io::Error,
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
    #[error("{path} is damaged: {why}; remove it; users must then log in again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first error in the content.
        why: String,
    },
}

/// The browser that logs in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Browser {
    /// The device id that the browser sends.
    pub device: Option<DeviceId>,
    /// The device name that the browser sends.
    pub device_name: Option<DeviceName>,
    /// The address from which the browser logs in.
    pub address: Option<Box<str>>,
    /// The browser's `User-Agent`.
    pub user_agent: Option<Box<str>>,
}

/// A browser session in a list. Times are milliseconds since the epoch.
#[derive(Clone, Debug)]
pub struct BrowserSessionInfo {
    /// The public id, which is not the cookie's secret.
    pub id: Box<str>,
    /// The browser.
    pub browser: Browser,
    /// The time of the log-in.
    pub created_at: u64,
    /// The time of the last use.
    pub last_used_at: u64,
    /// The end of the session if it is not used again.
    pub expires_at: u64,
}

#[derive(Debug)]
struct Shared {
    /// Held for lookups and single changes, never while the file is written.
    entries: RwLock<Entries>,
    /// `None`: the sessions are in memory only.
    file: Option<StateFile>,
}

impl BrowserSessions {
    /// The life of an unused session, in milliseconds: 30 days.
    pub const IDLE_MS: u64 = IDLE_MS;

    /// Returns an empty table, whose sessions end with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(Entries::default(), None)
    }

    /// Reads the sessions of a file. Without a file, there are none.
    ///
    /// Each change is written to the file. Does blocking I/O.
    ///
    /// # Errors
    /// [`BrowserSessionError::NotRead`] and [`BrowserSessionError::Damaged`].
    pub fn open(path: &Path) -> Result<Self, BrowserSessionError> {
        let stored = state_file::read(path).map_err(|error| match error {
            ReadError::Io(error) => BrowserSessionError::NotRead { path: path.to_owned(), error },
            ReadError::Damaged(why) => BrowserSessionError::Damaged { path: path.to_owned(), why },
        })?;
        let entries = stored.map_or_else(Entries::default, |it| Entries::restore(it, now_ms()));
        let file = StateFile::new(path, entries.version());
        Ok(Self::new(entries, Some(file)))
    }

    fn new(entries: Entries, file: Option<StateFile>) -> Self {
        Self { shared: Arc::new(Shared { entries: RwLock::new(entries), file }) }
    }

    /// Starts a session for an identity. Returns the secret for its cookie.
    ///
    /// The session ends 30 days after its last use, with the identity's token, or when newer
    /// sessions need its room. The caller closes the connections of sessions that ended, and
    /// calls [`write`](Self::write): the session is not on disk before.
    ///
    /// # Errors
    /// [`BrowserSessionError::TooLong`].
    pub fn start(
        &self,
        identity: Identity,
        browser: Browser,
    ) -> Result<String, BrowserSessionError> {
        let (secret, hash) = secret::generate();
        // The table has only the hash: a stolen file contains no usable cookie.
        let entry = Entry::new(hash, identity, browser, now_ms());
        if entry.bytes() > MAX_SESSION_BYTES {
            return Err(BrowserSessionError::TooLong);
        }
        self.shared.entries.write().insert(entry, now_ms());
        Ok(secret)
    }

    /// Returns the identity of the session with this secret.
    #[must_use]
    pub fn identify(&self, secret: &str) -> Option<Identity> {
        let hash = secret::hash(secret)?;
        self.shared.entries.read().identity(&hash, now_ms())
    }

    /// Extends the session with this secret by 30 days from now.
    ///
    /// Returns the identity with its new expiry.
    #[must_use]
    pub fn record_use(&self, secret: &str) -> Option<Identity> {
        let hash = secret::hash(secret)?;
        self.shared.entries.read().record_use(&hash, now_ms())
    }

    /// Returns the id of the session with this secret.
    #[must_use]
    pub fn id_of(&self, secret: &str) -> Option<Box<str>> {
        let hash = secret::hash(secret)?;
        self.shared.entries.read().id(&hash)
    }

    /// Returns `true` if the session with this id has not ended.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.shared.entries.read().contains(id)
    }

    /// Returns the sessions of a user, the last used first.
    #[must_use]
    pub fn of_user(&self, user: &UserId) -> Vec<BrowserSessionInfo> {
        self.shared.entries.read().of_user(user, now_ms())
    }

    /// Ends the sessions whose identities match. Returns their number.
    ///
    /// Calls `matches` with the table locked, so it must not use browser sessions.
    pub fn end(&self, matches: impl Fn(&Identity) -> bool) -> usize {
        self.shared.entries.write().remove(matches, now_ms())
    }

    /// Removes expired sessions, and writes the last uses to disk.
    ///
    /// # Errors
    /// [`BrowserSessionError::NotWritten`].
    pub async fn save(&self) -> Result<(), BrowserSessionError> {
        // Also turns the uses into a change, without which nothing would be written.
        self.shared.entries.write().remove_expired(now_ms());
        self.write().await
    }

    /// Waits until the file has all changes made so far.
    ///
    /// Cancel safe: a write that has started is completed.
    ///
    /// # Errors
    /// [`BrowserSessionError::NotWritten`].
    pub async fn write(&self) -> Result<(), BrowserSessionError> {
        let Some(file) = &self.shared.file else { return Ok(()) };
        // Read now: this version has the change of the caller, and later ones need not be awaited.
        let version = self.shared.entries.read().version();
        let shared = Arc::clone(&self.shared);

        let written = state_file::write_blocking(move || shared.write(version)).await;
        written.map_err(|error| BrowserSessionError::NotWritten {
            path: file.path().to_owned(),
            error,
        })
    }
}

impl Shared {
    fn write(&self, version: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.write(version, || {
            // Content and version under one lock, so that no change is counted as written too
            // early. The content is serialized without it: that takes tens of milliseconds.
            let (content, version) = {
                let entries = self.entries.read();
                (entries.to_store(), entries.version())
            };
            Ok((state_file::to_json(&content)?, version))
        })
    }
}
