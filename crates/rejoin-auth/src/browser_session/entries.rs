//! The table of browser sessions, with its bounds.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rejoin_core::{Caps, Identity};
use rejoin_protocol::{DeviceId, UserId};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use crate::{
    browser_session::{Browser, BrowserSessionInfo},
    secret::{self, Hash},
};

/// The life of an unused session, in milliseconds: 30 days.
pub(super) const IDLE_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// The longest session, in bytes of the file. Its rights come from a token, which is shorter.
pub(super) const MAX_SESSION_BYTES: usize = 24 * 1024;
/// The maximum number of sessions of one user. Above it, the one unused the longest ends.
const MAX_PER_USER: usize = 32;
/// The maximum number of sessions of all users: about 5 MB with usual rights.
///
/// Above this or [`MAX_BYTES`], the user with the most bytes loses the session unused for
/// longest, so that one user cannot log out the others.
const MAX_TOTAL: usize = 10_000;
/// The maximum size of all sessions in the file, in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A session as the file has it. Times are milliseconds since the epoch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    id: Box<str>,
    /// The SHA-256 hash of the cookie's secret.
    #[serde(with = "base64_hash")]
    secret: Hash,
    user: UserId,
    caps: Caps,
    /// The device that the token is for.
    token_device: Option<DeviceId>,
    token_id: Option<Box<str>>,
    role_context: Option<Box<str>>,
    issued_at: Option<u64>,
    /// The expiry of the token.
    token_end: Option<u64>,
    created_at: u64,
    last_used_at: AtomicU64,
    browser: Browser,
    /// The length of the entry in the file.
    #[serde(skip)]
    bytes: usize,
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Entries {
    by_secret: HashMap<Hash, Arc<Entry>>,
    by_id: HashMap<Box<str>, Hash>,
    bytes: usize,
    /// Incremented by each change.
    version: u64,
    /// A session was used since the last change. A use does not count as a change of its own:
    /// it would write the file on each request.
    used: AtomicBool,
}

/// The content of the file, read.
#[derive(Deserialize)]
pub(super) struct StoredEntries {
    sessions: Vec<Entry>,
}

/// The content of the file, to be written. Shares the sessions with the table.
pub(super) struct EntriesToStore {
    sessions: Vec<Arc<Entry>>,
}

impl Serialize for EntriesToStore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sessions: Vec<&Entry> = self.sessions.iter().map(Arc::as_ref).collect();
        let mut document = serializer.serialize_struct("Entries", 1)?;
        document.serialize_field("sessions", &sessions)?;
        document.end()
    }
}

impl Entry {
    /// Returns a new session.
    pub(super) fn new(secret: Hash, identity: Identity, browser: Browser, now: u64) -> Self {
        let Identity { user, device, caps, expires_at, issued_at, token_id, role_context, .. } =
            identity;
        let id = secret::random_id().into();
        let entry = Self {
            id,
            secret,
            user,
            caps,
            // The rights are copied. The token itself is not kept, and cannot be stolen from here.
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
        entry.with_length()
    }

    fn with_length(self) -> Self {
        let json = serde_json::to_vec(&self).expect("an entry is JSON");
        Self { bytes: json.len(), ..self }
    }

    /// Returns the length of the entry in the file.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn last_used_at(&self) -> u64 {
        self.last_used_at.load(Ordering::Relaxed)
    }

    fn expires_at(&self) -> u64 {
        // The token's expiry bounds the session: a log-in must not outlast its credentials.
        let idle = self.last_used_at().saturating_add(IDLE_MS);
        self.token_end.map_or(idle, |end| end.min(idle))
    }

    fn identity(&self) -> Identity {
        Identity {
            user: self.user.clone(),
            device: self.token_device.clone(),
            caps: self.caps.clone(),
            expires_at: Some(self.expires_at()),
            issued_at: self.issued_at,
            token_id: self.token_id.clone(),
            role_context: self.role_context.clone(),
            browser_session: Some(self.id.clone()),
        }
    }
}

impl Entries {
    /// Returns the sessions of a file. Applies the limits.
    pub(super) fn restore(stored: StoredEntries, now: u64) -> Self {
        let mut entries = Self::default();
        for entry in stored.sessions {
            entries.insert(entry.with_length(), now);
        }
        entries
    }

    /// Returns the content of the file. Copies no session, and does not borrow the table.
    pub(super) fn to_store(&self) -> EntriesToStore {
        EntriesToStore { sessions: self.by_secret.values().cloned().collect() }
    }

    /// Returns the number of changes.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Adds a session. Other sessions may end to make room.
    pub(super) fn insert(&mut self, entry: Entry, now: u64) {
        self.remove_expired(now);

        let (user, newest) = (entry.user.clone(), entry.secret);
        self.bytes += entry.bytes;
        self.by_id.insert(entry.id.clone(), entry.secret);
        self.by_secret.insert(entry.secret, entry.into());
        self.record_change();

        // A scan of all sessions, but only at a log-in: an index by user would cost more to
        // maintain.
        while self.by_secret.values().filter(|entry| entry.user == user).count() > MAX_PER_USER {
            self.evict(&user, &newest);
        }
        while self.by_secret.len() > MAX_TOTAL || self.bytes > MAX_BYTES {
            let Some(largest) = self.largest_user() else { break };
            self.evict(&largest, &newest);
        }
    }

    /// Returns the identity of a session that has not expired.
    pub(super) fn identity(&self, secret: &Hash, now: u64) -> Option<Identity> {
        self.valid(secret, now).map(Entry::identity)
    }

    /// Records the use of a session. Returns the identity with its new expiry.
    pub(super) fn record_use(&self, secret: &Hash, now: u64) -> Option<Identity> {
        let entry = self.valid(secret, now)?;
        // `fetch_max`: with a clock that is set back, the session must not end earlier.
        entry.last_used_at.fetch_max(now, Ordering::Relaxed);
        self.used.store(true, Ordering::Relaxed);
        Some(entry.identity())
    }

    fn valid(&self, secret: &Hash, now: u64) -> Option<&Entry> {
        let entry = self.by_secret.get(secret).map(Arc::as_ref);
        entry.filter(|entry| now < entry.expires_at())
    }

    /// Returns the id of a session.
    pub(super) fn id(&self, secret: &Hash) -> Option<Box<str>> {
        self.by_secret.get(secret).map(|entry| entry.id.clone())
    }

    /// Returns `true` if a session with this id exists.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Returns the sessions of a user, the last used first.
    pub(super) fn of_user(&self, user: &UserId, now: u64) -> Vec<BrowserSessionInfo> {
        let entries =
            self.by_secret.values().filter(|it| it.user == *user && now < it.expires_at());
        let mut infos: Vec<_> = entries
            .map(|entry| BrowserSessionInfo {
                id: entry.id.clone(),
                browser: entry.browser.clone(),
                created_at: entry.created_at,
                last_used_at: entry.last_used_at(),
                expires_at: entry.expires_at(),
            })
            .collect();
        infos.sort_by(|a, b| (b.last_used_at, &b.id).cmp(&(a.last_used_at, &a.id)));
        infos
    }

    /// Removes the sessions whose identities match, and expired ones. Returns the number.
    pub(super) fn remove(&mut self, matches: impl Fn(&Identity) -> bool, now: u64) -> usize {
        self.remove_entries(|entry| now >= entry.expires_at() || matches(&entry.identity()))
    }

    /// Removes expired sessions, and records the uses as a change.
    pub(super) fn remove_expired(&mut self, now: u64) {
        self.remove_entries(|entry| now >= entry.expires_at());
        // Relaxed suffices: a use that is missed now is recorded at the next save.
        if self.used.load(Ordering::Relaxed) {
            self.record_change();
        }
    }

    fn remove_entries(&mut self, matches: impl Fn(&Entry) -> bool) -> usize {
        let removed = self.by_secret.extract_if(|_, entry| matches(entry));
        let removed: Vec<_> = removed.map(|(_, entry)| entry).collect();
        for entry in &removed {
            self.by_id.remove(&entry.id);
            self.bytes -= entry.bytes;
        }

        if !removed.is_empty() {
            self.record_change();
        }
        removed.len()
    }

    fn record_change(&mut self) {
        self.version += 1;
        *self.used.get_mut() = false;
    }

    /// Ends the session of a user that has been unused the longest, and spares the newest of all.
    fn evict(&mut self, user: &UserId, newest: &Hash) {
        let entries = self.by_secret.values();
        let others = entries.filter(|entry| entry.user == *user && entry.secret != *newest);
        let secret = others.min_by_key(|entry| entry.last_used_at()).map(|entry| entry.secret);
        // The newest itself only if its user has no other session.
        if let Some(entry) = self.by_secret.remove(&secret.unwrap_or(*newest)) {
            self.by_id.remove(&entry.id);
            self.bytes -= entry.bytes;
        }
    }

    /// Returns the user whose sessions have the most bytes.
    fn largest_user(&self) -> Option<UserId> {
        let mut bytes: HashMap<&UserId, usize> = HashMap::new();
        for entry in self.by_secret.values() {
            *bytes.entry(&entry.user).or_default() += entry.bytes;
        }
        bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(user, _)| user.clone())
    }
}

/// Hashes as base64url, for serde.
mod base64_hash {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::secret::Hash;

    pub(super) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_URL_SAFE_NO_PAD.encode(hash))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(D::Error::custom)?;
        Hash::try_from(bytes).map_err(|_| D::Error::custom("a hash has 32 bytes"))
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
            let identity = entries.record_use(&secret, day * DAY_MS).unwrap();
            assert_eq!(identity.expires_at, Some((day + 30) * DAY_MS));
        }
        assert!(entries.record_use(&secret, 117 * DAY_MS).is_none());

        entries.remove_expired(117 * DAY_MS);
        assert_eq!((entries.by_secret.len(), entries.bytes), (0, 0));
    }

    #[test]
    fn a_session_ends_with_its_token() {
        let mut entries = Entries::default();
        let identity = Identity::new(UserId::new("ann").unwrap(), Caps::user());
        let identity = Identity { expires_at: Some(DAY_MS), ..identity };
        let (_, secret) = secret::generate();

        entries.insert(Entry::new(secret, identity, Browser::default(), 0), 0);

        assert!(entries.record_use(&secret, DAY_MS - 1).is_some());
        assert!(entries.record_use(&secret, DAY_MS).is_none());
    }

    #[test]
    fn a_write_does_not_hold_the_table() {
        let mut entries = Entries::default();
        entries.insert(entry("ann", 0), 0);
        let content = entries.to_store();
        // Possible only because the content borrows nothing.
        entries.insert(entry("bob", 1), 1);

        let json = serde_json::to_string(&content).unwrap();
        assert!(json.contains("ann") && !json.contains("bob"), "{json}");
    }

    #[test]
    fn too_many_sessions_end_the_one_unused_for_longest() {
        let mut entries = Entries::default();
        entries.insert(entry("bob", 0), 0);
        let first = entry("ann", 1);
        let (secret, id) = (first.secret, first.id.clone());
        entries.insert(first, 1);
        for time in 2..=u64::try_from(MAX_PER_USER).unwrap() {
            entries.insert(entry("ann", time), time);
        }

        entries.record_use(&secret, 100).unwrap();
        entries.insert(entry("ann", 101), 101);

        assert_eq!(entries.of_user(&UserId::new("ann").unwrap(), 101).len(), MAX_PER_USER);
        assert!(entries.contains(&id));
        assert_eq!(entries.of_user(&UserId::new("bob").unwrap(), 101).len(), 1);
    }

    #[test]
    fn the_user_with_the_most_bytes_makes_room() {
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
