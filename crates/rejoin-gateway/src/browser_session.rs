//! Browser sessions: log-ins of browsers, kept by the server. A browser has an opaque cookie.

mod entries;
mod file;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use rejoin_core::{Identity, now_ms};
use rejoin_protocol::{DeviceId, DeviceName, UserId};
use serde::{Deserialize, Serialize};

use crate::secret;
use entries::{Entries, Entry};
pub(crate) use entries::{MAX_SESSION_BYTES, SLIDING_MS};

/// The browser sessions of one server; a handle.
#[derive(Clone, Debug)]
pub struct BrowserSessions {
    shared: Arc<Shared>,
}

/// Why a browser session does not begin, or is not on disk.
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
        /// What the system says.
        error: io::Error,
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
    #[error("{path} is damaged: {why}; remove it, and browsers log in again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The browser that logs in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Browser {
    pub(crate) device: Option<DeviceId>,
    pub(crate) device_name: Option<DeviceName>,
    pub(crate) address: Option<Box<str>>,
    pub(crate) user_agent: Option<Box<str>>,
}

/// A browser session as lists show it; times are milliseconds since the epoch.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) id: Box<str>,
    pub(crate) browser: Browser,
    pub(crate) created_at: u64,
    pub(crate) last_used_at: u64,
    pub(crate) expires_at: u64,
}

#[derive(Debug)]
struct Shared {
    /// Taken for look-ups and for single changes, never while the file is written.
    entries: RwLock<Entries>,
    /// Where they are kept; `None`: in memory only.
    path: Option<PathBuf>,
    /// The version on disk. Held while the file is written, on threads that may wait.
    written: Mutex<u64>,
}

impl BrowserSessions {
    /// No sessions; they end with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::with(Entries::default(), None)
    }

    /// Reads the sessions of a file; each change is written to it. No file: no sessions.
    ///
    /// Does blocking I/O.
    ///
    /// # Errors
    /// [`BrowserSessionError::NotRead`] and [`BrowserSessionError::Damaged`].
    pub fn open(path: &Path) -> Result<Self, BrowserSessionError> {
        let mut entries = Entries::default();
        for entry in file::read(path)? {
            entries.insert(entry, now_ms());
        }
        Ok(Self::with(entries, Some(path.to_owned())))
    }

    fn with(entries: Entries, path: Option<PathBuf>) -> Self {
        let written = Mutex::new(entries.version());
        Self { shared: Arc::new(Shared { entries: RwLock::new(entries), path, written }) }
    }

    /// Begins a session for an identity; returns the value of its cookie. Not on disk before
    /// [`write`](Self::write).
    ///
    /// It ends 30 days after its last use, with the identity's token, or when other sessions need
    /// its room: the connections of sessions that ended are the caller's to close.
    ///
    /// # Errors
    /// [`BrowserSessionError::TooLong`].
    pub(crate) fn begin(
        &self,
        identity: Identity,
        browser: Browser,
    ) -> Result<String, BrowserSessionError> {
        let (secret, hash) = secret::generate();
        let entry = Entry::new(hash, identity, browser, now_ms());
        if entry.bytes() > MAX_SESSION_BYTES {
            return Err(BrowserSessionError::TooLong);
        }
        self.shared.entries.write().insert(entry, now_ms());
        Ok(secret)
    }

    /// Returns the identity of a cookie's session.
    pub(crate) fn identify(&self, secret: &str) -> Option<Identity> {
        let hash = secret::hash(secret)?;
        self.shared.entries.read().identity_of(&hash, now_ms())
    }

    /// Notes that a cookie's session was used, which keeps it for 30 days; returns the identity
    /// with its new end.
    pub(crate) fn note_use(&self, secret: &str) -> Option<Identity> {
        let hash = secret::hash(secret)?;
        self.shared.entries.read().use_at(&hash, now_ms())
    }

    /// Returns the id of a cookie's session.
    pub(crate) fn id_of(&self, secret: &str) -> Option<Box<str>> {
        let hash = secret::hash(secret)?;
        self.shared.entries.read().id_of(&hash)
    }

    /// Whether the session with this id has not ended.
    pub(crate) fn is_there(&self, id: &str) -> bool {
        self.shared.entries.read().is_there(id)
    }

    /// The sessions of a user, the one used last in front.
    pub(crate) fn of_user(&self, user: &UserId) -> Vec<Listed> {
        self.shared.entries.read().of_user(user, now_ms())
    }

    /// Ends the sessions whose identities are chosen; returns their number.
    ///
    /// `chosen` is called with the table locked: it must not look at browser sessions.
    pub(crate) fn end(&self, chosen: impl Fn(&Identity) -> bool) -> usize {
        self.shared.entries.write().remove(chosen, now_ms())
    }

    /// Forgets expired sessions and writes the last uses to disk.
    ///
    /// # Errors
    /// [`BrowserSessionError::NotWritten`].
    pub(crate) async fn save(&self) -> Result<(), BrowserSessionError> {
        self.shared.entries.write().forget(now_ms());
        self.write().await
    }

    /// Waits until the file has all changes made so far.
    ///
    /// # Errors
    /// [`BrowserSessionError::NotWritten`].
    pub(crate) async fn write(&self) -> Result<(), BrowserSessionError> {
        let Some(path) = self.shared.path.clone() else { return Ok(()) };
        let version = self.shared.entries.read().version();
        let (shared, target) = (Arc::clone(&self.shared), path.clone());
        let written = tokio::task::spawn_blocking(move || shared.write(&target, version)).await;
        // An error of the task: the runtime ends.
        let written = written.map_err(io::Error::other).and_then(|written| written);
        written.map_err(|error| BrowserSessionError::NotWritten { path, error })
    }
}

impl Shared {
    fn write(&self, path: &Path, version: u64) -> io::Result<()> {
        let mut written = self.written.lock();
        if *written >= version {
            return Ok(());
        }
        let (text, newest) = {
            let entries = self.entries.read();
            (file::text(&entries)?, entries.version())
        };
        crate::durable::replace(path, &text)?;
        *written = newest;
        Ok(())
    }
}
