//! Login codes: single-use secrets in login links, kept as files in the data directory.
//!
//! Files let a command make a code for a server that runs. Each file is named by the hash of its
//! code, and whoever removes it has redeemed the code.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rejoin_core::{Caps, Identity, now_ms};
use rejoin_protocol::UserId;
use serde::{Deserialize, Serialize};

use crate::{
    durable::create_directory,
    secret::{self, Hash},
};

/// How long a code is valid.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// Codes that were not used; for one more, the oldest is removed.
const MAX_CODES: usize = 64;

/// The login codes of one data directory; a handle.
#[derive(Clone, Debug)]
pub struct LoginCodes {
    directory: PathBuf,
}

/// What a code stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Grant {
    user: UserId,
    caps: Caps,
    /// In milliseconds since the epoch.
    created_at: u64,
    /// In milliseconds since the epoch.
    pub(crate) expires_at: u64,
}

impl Grant {
    /// Returns the identity of a browser that logs in with the code.
    ///
    /// It counts as issued when the code was made: a later revocation of the user ends it.
    pub(crate) fn into_identity(self) -> Identity {
        Identity { issued_at: Some(self.created_at), ..Identity::new(self.user, self.caps) }
    }
}

impl LoginCodes {
    /// The codes in this directory, which is created with the first code.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Makes a code that logs a browser in once, within 15 minutes, with these rights.
    ///
    /// At most 64 unused codes are kept. Does blocking I/O.
    ///
    /// # Errors
    /// If the directory or the file cannot be written.
    pub fn issue(&self, user: UserId, caps: Caps) -> io::Result<String> {
        create_directory(&self.directory)?;
        self.make_room()?;
        let (code, hash) = secret::generate();
        let created_at = now_ms();
        let life = u64::try_from(LIFE.as_millis()).expect("minutes are not many milliseconds");
        let grant = Grant { user, caps, created_at, expires_at: created_at.saturating_add(life) };
        let path = self.path(&hash);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&serde_json::to_vec(&grant)?)?;
        Ok(code)
    }

    /// Returns what a code stands for, and leaves it valid. Does blocking I/O.
    pub(crate) fn peek(&self, code: &str) -> Option<Grant> {
        let grant = read(&self.path(&secret::hash(code)?))?;
        (now_ms() < grant.expires_at).then_some(grant)
    }

    /// Spends a code. Of any number of callers one gets its grant. Does blocking I/O.
    pub(crate) fn redeem(&self, code: &str) -> Option<Grant> {
        let grant = self.peek(code)?;
        fs::remove_file(self.path(&secret::hash(code)?)).ok()?;
        // Or a power cut would bring it back.
        File::open(&self.directory).and_then(|directory| directory.sync_all()).ok()?;
        Some(grant)
    }

    fn path(&self, hash: &Hash) -> PathBuf {
        self.directory.join(BASE64_URL_SAFE_NO_PAD.encode(hash))
    }

    /// Removes expired codes, old damaged files, and the oldest codes above the limit.
    fn make_room(&self) -> io::Result<()> {
        let now = now_ms();
        let mut valid = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            match read(&path) {
                Some(grant) if now < grant.expires_at => valid.push((grant.created_at, path)),
                // Another process may be writing it.
                None if is_new(&path) => {}
                _ => remove(&path)?,
            }
        }
        valid.sort();
        let surplus = (valid.len() + 1).saturating_sub(MAX_CODES);
        valid.iter().take(surplus).try_for_each(|(_, path)| remove(path))
    }
}

fn read(path: &Path) -> Option<Grant> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn is_new(path: &Path) -> bool {
    let age = fs::metadata(path).and_then(|file| file.modified()).map(|time| time.elapsed());
    age.is_ok_and(|age| age.is_ok_and(|age| age < LIFE))
}

/// Removes a file, unless another process has removed it.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_unused_code_makes_room_for_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let codes = LoginCodes::new(directory.path());
        let issue = || codes.issue(UserId::new("ann").unwrap(), Caps::admin()).unwrap();
        let issued: Vec<_> = (0..=MAX_CODES).map(|_| issue()).collect();
        let valid = issued.iter().filter(|code| codes.peek(code).is_some()).count();
        assert_eq!(valid, MAX_CODES);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), MAX_CODES);
    }

    #[test]
    fn an_expired_code_is_refused_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let codes = LoginCodes::new(directory.path());
        let (code, hash) = secret::generate();
        let grant = Grant {
            user: UserId::new("ann").unwrap(),
            caps: Caps::admin(),
            created_at: 0,
            expires_at: now_ms(),
        };
        fs::write(codes.path(&hash), serde_json::to_vec(&grant).unwrap()).unwrap();
        assert!(codes.peek(&code).is_none() && codes.redeem(&code).is_none());
        codes.issue(UserId::new("ann").unwrap(), Caps::admin()).unwrap();
        assert!(!codes.path(&hash).exists());
    }
}
