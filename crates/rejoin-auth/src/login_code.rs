//! Login codes: single-use secrets in login links, kept as files in the data directory.
//!
//! Files let a command make a code for a running server. The name of each file is the hash of its
//! code. Removing the file redeems the code: of concurrent callers, one succeeds.

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
    secret::{self, Hash},
    state_file::create_directory,
};

/// The life of a code, in milliseconds: 15 minutes.
const LIFE_MS: u64 = 15 * 60 * 1000;
/// The maximum number of unused codes. Above it, the oldest is removed.
const MAX_CODES: usize = 64;

/// The login codes of one data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LoginCodes {
    directory: PathBuf,
}

/// The identity and the expiry of a login code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoginGrant {
    user: UserId,
    caps: Caps,
    /// In milliseconds since the epoch.
    created_at: u64,
    /// In milliseconds since the epoch.
    expires_at: u64,
}

impl LoginGrant {
    /// Returns the expiry of the code, in milliseconds since the epoch.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// Returns the identity of a browser that logs in with the code.
    ///
    /// It counts as issued when the code was made, so that a later revocation of the user ends it.
    #[must_use]
    pub fn into_identity(self) -> Identity {
        Identity { issued_at: Some(self.created_at), ..Identity::new(self.user, self.caps) }
    }
}

impl LoginCodes {
    /// Returns the codes in a directory, which is created with the first code.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Makes a code that logs one browser in with these rights, within 15 minutes.
    ///
    /// Removes the oldest unused code if there are 64. Does blocking I/O.
    ///
    /// # Errors
    /// If the directory or the file cannot be written.
    pub fn issue(&self, user: UserId, caps: Caps) -> io::Result<String> {
        create_directory(&self.directory)?;
        self.make_room()?;

        let (code, hash) = secret::generate();
        let created_at = now_ms();
        let expires_at = created_at.saturating_add(LIFE_MS);
        let grant = LoginGrant { user, caps, created_at, expires_at };

        let path = self.path(&hash);
        // Only the owner may read the file: it grants rights without the code.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&serde_json::to_vec(&grant)?)?;
        Ok(code)
    }

    /// Returns the grant of a valid code, without redeeming it. Does blocking I/O.
    #[must_use]
    pub fn peek(&self, code: &str) -> Option<LoginGrant> {
        let grant = read(&self.path(&secret::hash(code)?))?;
        (now_ms() < grant.expires_at).then_some(grant)
    }

    /// Redeems a code. Of concurrent callers, one gets the grant. Does blocking I/O.
    #[must_use]
    pub fn redeem(&self, code: &str) -> Option<LoginGrant> {
        // Read first: the content is gone after the removal.
        let grant = self.peek(code)?;
        // The removal decides: it fails for all but one of concurrent callers.
        fs::remove_file(self.path(&secret::hash(code)?)).ok()?;
        // Otherwise a power cut could restore the code.
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
                // Another process may be writing the file.
                None if is_new(&path) => {}
                _ => remove(&path)?,
            }
        }

        // By the time of creation, the oldest first.
        valid.sort();
        let surplus = (valid.len() + 1).saturating_sub(MAX_CODES);
        valid.iter().take(surplus).try_for_each(|(_, path)| remove(path))
    }
}

fn read(path: &Path) -> Option<LoginGrant> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn is_new(path: &Path) -> bool {
    let age = fs::metadata(path).and_then(|file| file.modified()).map(|time| time.elapsed());
    age.is_ok_and(|age| age.is_ok_and(|age| age < Duration::from_millis(LIFE_MS)))
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
    fn a_new_code_replaces_the_oldest_above_the_limit() {
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
        let grant = LoginGrant {
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
