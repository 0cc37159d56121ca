//! The table of browser sessions, with its bounds.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use rejoin_core::{Caps, Identity};
use rejoin_protocol::{DeviceId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    browser_session::{Browser, Listed},
    secret::{self, Hash},
};

/// How long an unused session lasts, in milliseconds: 30 days.
pub(crate) const SLIDING_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// A session at most, in bytes of the file; a token, from which its rights come, is not longer.
pub(crate) const MAX_SESSION_BYTES: usize = 24 * 1024;
/// Sessions of one user; for one more, the one that was unused for longest ends.
pub(super) const MAX_OF_USER: usize = 32;
/// Sessions of all users, and their bytes: about 5 MB with usual rights.
///
/// For more, the user with the most bytes loses the session that was unused for longest.
pub(super) const MAX_IN_ALL: usize = 10_000;
pub(super) const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A session as the file has it; times are milliseconds since the epoch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    id: Box<str>,
    /// The SHA-256 hash of the cookie.
    #[serde(with = "super::file::base64")]
    secret: Hash,
    user: UserId,
    caps: Caps,
    /// The device that the token was made for.
    token_device: Option<DeviceId>,
    token_id: Option<Box<str>>,
    role_context: Option<Box<str>>,
    issued_at: Option<u64>,
    /// When the token ends.
    token_end: Option<u64>,
    created_at: u64,
    last_used_at: AtomicU64,
    browser: Browser,
    /// Its length in the file.
    #[serde(skip)]
    bytes: usize,
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Entries {
    by_secret: HashMap<Hash, Entry>,
    by_id: HashMap<Box<str>, Hash>,
    bytes: usize,
    /// Counts the changes.
    version: u64,
    /// A session was used since the last change.
    used: AtomicBool,
}

impl Entry {
    pub(super) fn new(secret: Hash, identity: Identity, browser: Browser, now: u64) -> Self {
        let Identity { user, device, caps, expires_at, issued_at, token_id, role_context, .. } =
            identity;
        let id = secret::random_id().into();
        let entry = Self {
            id,
            secret,
            user,
            caps,
            token_device: device,
            token_id,
            role_context,
            issued_at,
            token_end: expires_at,
            created_at: now,
            last_used_at: now.into(),
            browser,
            bytes: 0,
        };
        entry.measured()
    }

    /// The entry with its length.
    pub(super) fn measured(self) -> Self {
        let text = serde_json::to_vec(&self).expect("an entry is JSON");
        Self { bytes: text.len(), ..self }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn last_used_at(&self) -> u64 {
        self.last_used_at.load(Ordering::Relaxed)
    }

    fn end(&self) -> u64 {
        let sliding = self.last_used_at().saturating_add(SLIDING_MS);
        self.token_end.map_or(sliding, |end| end.min(sliding))
    }

    fn identity(&self) -> Identity {
        Identity {
            user: self.user.clone(),
            device: self.token_device.clone(),
            caps: self.caps.clone(),
            expires_at: Some(self.end()),
            issued_at: self.issued_at,
            token_id: self.token_id.clone(),
            role_context: self.role_context.clone(),
            browser_session: Some(self.id.clone()),
        }
    }
}

impl Entries {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Adds a session; others may end to make room for it.
    pub(super) fn insert(&mut self, entry: Entry, now: u64) {
        self.forget(now);
        let user = entry.user.clone();
        self.bytes += entry.bytes;
        self.by_id.insert(entry.id.clone(), entry.secret);
        let newest = entry.secret;
        self.by_secret.insert(entry.secret, entry);
        self.changed();
        while self.by_secret.values().filter(|entry| entry.user == user).count() > MAX_OF_USER {
            self.evict(&user, &newest);
        }
        while self.by_secret.len() > MAX_IN_ALL || self.bytes > MAX_BYTES {
            let Some(largest) = self.largest_user() else { break };
            self.evict(&largest, &newest);
        }
    }

    pub(super) fn identity_of(&self, secret: &Hash, now: u64) -> Option<Identity> {
        self.valid(secret, now).map(Entry::identity)
    }

    /// Notes the use of a session; returns the identity with its new end.
    pub(super) fn use_at(&self, secret: &Hash, now: u64) -> Option<Identity> {
        let entry = self.valid(secret, now)?;
        entry.last_used_at.fetch_max(now, Ordering::Relaxed);
        self.used.store(true, Ordering::Relaxed);
        Some(entry.identity())
    }

    fn valid(&self, secret: &Hash, now: u64) -> Option<&Entry> {
        self.by_secret.get(secret).filter(|entry| now < entry.end())
    }

    pub(super) fn id_of(&self, secret: &Hash) -> Option<Box<str>> {
        self.by_secret.get(secret).map(|entry| entry.id.clone())
    }

    pub(super) fn is_there(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn of_user(&self, user: &UserId, now: u64) -> Vec<Listed> {
        let entries = self.by_secret.values().filter(|it| it.user == *user && now < it.end());
        let mut listed: Vec<_> = entries
            .map(|entry| Listed {
                id: entry.id.clone(),
                browser: entry.browser.clone(),
                created_at: entry.created_at,
                last_used_at: entry.last_used_at(),
                expires_at: entry.end(),
            })
            .collect();
        listed.sort_by(|a, b| (b.last_used_at, &b.id).cmp(&(a.last_used_at, &a.id)));
        listed
    }

    /// Removes the sessions whose identities are chosen, and expired ones; returns the number.
    pub(super) fn remove(&mut self, chosen: impl Fn(&Identity) -> bool, now: u64) -> usize {
        self.remove_entries(|entry| now >= entry.end() || chosen(&entry.identity()))
    }

    fn remove_entries(&mut self, chosen: impl Fn(&Entry) -> bool) -> usize {
        let ended = self.by_secret.extract_if(|_, entry| chosen(entry));
        let ended: Vec<_> = ended.map(|(_, entry)| entry).collect();
        for entry in &ended {
            self.by_id.remove(&entry.id);
            self.bytes -= entry.bytes;
        }
        if !ended.is_empty() {
            self.changed();
        }
        ended.len()
    }

    /// Removes expired sessions, and counts their uses as a change.
    pub(super) fn forget(&mut self, now: u64) {
        self.remove_entries(|entry| now >= entry.end());
        if self.used.load(Ordering::Relaxed) {
            self.changed();
        }
    }

    /// All sessions, for the file.
    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.by_secret.values()
    }

    fn changed(&mut self) {
        self.version += 1;
        *self.used.get_mut() = false;
    }

    /// Ends the session of a user that was unused for longest, and is not the newest of all.
    fn evict(&mut self, user: &UserId, newest: &Hash) {
        let entries = self.by_secret.values();
        let others = entries.filter(|entry| entry.user == *user && entry.secret != *newest);
        let secret = others.min_by_key(|entry| entry.last_used_at()).map(|entry| entry.secret);
        if let Some(entry) = self.by_secret.remove(&secret.unwrap_or(*newest)) {
            self.by_id.remove(&entry.id);
            self.bytes -= entry.bytes;
        }
    }

    /// The user whose sessions have the most bytes.
    fn largest_user(&self) -> Option<UserId> {
        let mut bytes: HashMap<&UserId, usize> = HashMap::new();
        for entry in self.by_secret.values() {
            *bytes.entry(&entry.user).or_default() += entry.bytes;
        }
        bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(user, _)| user.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    fn entry(user: &str, now: u64) -> Entry {
        let identity = Identity::new(UserId::new(user).unwrap(), Caps::user());
        Entry::new(secret::generate().1, identity, Browser::default(), now)
    }

    #[test]
    fn a_session_ends_thirty_days_after_its_last_use() {
        let mut entries = Entries::default();
        let entry = entry("ann", 0);
        let secret = entry.secret;
        entries.insert(entry, 0);
        for day in [29, 58, 87] {
            let identity = entries.use_at(&secret, day * DAY_MS).unwrap();
            assert_eq!(identity.expires_at, Some((day + 30) * DAY_MS));
        }
        assert!(entries.use_at(&secret, 117 * DAY_MS).is_none());
        entries.forget(117 * DAY_MS);
        assert_eq!((entries.all().count(), entries.bytes), (0, 0));
    }

    #[test]
    fn a_session_ends_with_the_token_that_it_began_with() {
        let mut entries = Entries::default();
        let identity = Identity::new(UserId::new("ann").unwrap(), Caps::user());
        let identity = Identity { expires_at: Some(DAY_MS), ..identity };
        let (_, secret) = secret::generate();
        entries.insert(Entry::new(secret, identity, Browser::default(), 0), 0);
        assert!(entries.use_at(&secret, DAY_MS - 1).is_some());
        assert!(entries.use_at(&secret, DAY_MS).is_none());
    }

    #[test]
    fn a_user_with_too_many_sessions_loses_the_one_unused_for_longest() {
        let mut entries = Entries::default();
        entries.insert(entry("bob", 0), 0);
        let first = entry("ann", 1);
        let (secret, id) = (first.secret, first.id.clone());
        entries.insert(first, 1);
        for time in 2..=u64::try_from(MAX_OF_USER).unwrap() {
            entries.insert(entry("ann", time), time);
        }
        entries.use_at(&secret, 100).unwrap();
        entries.insert(entry("ann", 101), 101);
        assert_eq!(entries.of_user(&UserId::new("ann").unwrap(), 101).len(), MAX_OF_USER);
        assert!(entries.is_there(&id));
        assert_eq!(entries.of_user(&UserId::new("bob").unwrap(), 101).len(), 1);
    }

    #[test]
    fn the_user_with_the_most_bytes_makes_room_for_others() {
        let mut entries = Entries::default();
        entries.insert(entry("bob", 0), 0);
        let size = entry("ann", 0).bytes;
        // As if the table was nearly full.
        entries.bytes = MAX_BYTES - 3 * size;
        entries.insert(entry("ann", 1), 1);
        entries.insert(entry("ann", 2), 2);
        entries.insert(entry("carl", 3), 3);
        assert_eq!(entries.of_user(&UserId::new("ann").unwrap(), 3).len(), 1);
        assert!(entries.bytes <= MAX_BYTES);
    }
}
