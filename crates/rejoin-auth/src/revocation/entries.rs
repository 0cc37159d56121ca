//! The table of revocations.

use std::collections::HashMap;

use rejoin_core::Identity;
use rejoin_protocol::UserId;
use serde::{Deserialize, Serialize};

use crate::{
    revocation::{
        MAX_REVOCATIONS, Revocation, RevocationError, Target,
        clock::{Entry, Now},
    },
    token::MAX_TOKEN_ID_BYTES,
};

/// All revocations.
#[derive(Debug, Default)]
pub(super) struct Entries {
    users: HashMap<UserId, Entry>,
    tokens: HashMap<Box<str>, Entry>,
    /// No entry expires sooner, so not every change has to look at all entries.
    soonest: u64,
    /// Incremented by each change.
    version: u64,
}

/// A revocation as the file has it.
#[derive(Deserialize, Serialize)]
struct StoredRevocation {
    #[serde(flatten)]
    revocation: Revocation,
    /// The time left by the monotonic clock, in milliseconds. Old files do not have it.
    #[serde(default)]
    left_ms: Option<u64>,
}

/// The content of the file.
#[derive(Deserialize, Serialize)]
pub(super) struct StoredRevocations {
    revocations: Vec<StoredRevocation>,
}

impl Entries {
    /// Returns the revocations of a file that have not expired.
    ///
    /// # Errors
    /// The reason why the content is damaged.
    pub(super) fn restore(stored: StoredRevocations, now: Now) -> Result<Self, String> {
        if stored.revocations.len() > MAX_REVOCATIONS {
            return Err(format!("it has more than {MAX_REVOCATIONS} entries"));
        }
        let mut entries = Self::default();
        for StoredRevocation { revocation, left_ms } in stored.revocations {
            let Revocation { revoked_at, until, .. } = revocation;
            // Files of older versions have no `left_ms`; the whole life counts as left.
            let left_ms = left_ms.unwrap_or(until.saturating_sub(revoked_at));
            if until > now.wall || left_ms > 0 {
                entries.put(revocation, left_ms, now).map_err(|error| error.to_string())?;
            }
        }
        Ok(entries)
    }

    /// Returns the content of the file.
    pub(super) fn stored(&self, now: Now) -> StoredRevocations {
        let stored = self.valid(now).map(|(target, entry)| StoredRevocation {
            revocation: revocation(target, entry),
            left_ms: Some(entry.left_ms(now)),
        });
        StoredRevocations { revocations: stored.collect() }
    }

    /// Returns the revocations that have not expired, in no order.
    pub(super) fn list(&self, now: Now) -> Vec<Revocation> {
        self.valid(now).map(|(target, entry)| revocation(target, entry)).collect()
    }

    /// Returns the number of entries, expired ones included.
    pub(super) fn len(&self) -> usize {
        self.users.len() + self.tokens.len()
    }

    /// Returns the number of changes.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Records a change.
    pub(super) fn record_change(&mut self) {
        self.version += 1;
    }

    /// Adds a revocation. Of two revocations of one target, the later expiry counts.
    pub(super) fn insert(
        &mut self,
        revocation: Revocation,
        now: Now,
    ) -> Result<Revocation, RevocationError> {
        if revocation.until <= now.wall {
            return Err(RevocationError::Past);
        }
        let left_ms = revocation.until - now.wall;
        self.put(revocation, left_ms, now)
    }

    /// Adds a revocation that has `left_ms` milliseconds left by the monotonic clock.
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
        // First: expired entries must not count towards the limit.
        self.remove_expired(now);
        let known = self.get(&target);
        if known.is_none() && self.len() >= MAX_REVOCATIONS {
            return Err(RevocationError::TooMany);
        }

        self.soonest = self.soonest.min(until);
        let until = known.map_or(until, |known| known.until.max(until));
        let ends_at = now.after(left_ms);
        // A second revocation must not shorten the first, by either clock.
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

    /// Removes a revocation. Returns `true` if there was one.
    pub(super) fn remove(&mut self, target: &Target) -> bool {
        match target {
            Target::User(user) => self.users.remove(user).is_some(),
            Target::Token(id) => self.tokens.remove(id).is_some(),
        }
    }

    /// Removes the revocations that have expired.
    pub(super) fn remove_expired(&mut self, now: Now) {
        if now.wall < self.soonest {
            return;
        }
        self.users.retain(|_, entry| !entry.has_expired(now));
        self.tokens.retain(|_, entry| !entry.has_expired(now));
        let left = self.users.values().chain(self.tokens.values());
        self.soonest = left.map(|entry| entry.until).min().unwrap_or(u64::MAX);
    }

    /// Returns `true` if the identity's user or token is revoked.
    pub(super) fn is_revoked(&self, identity: &Identity, now: Now) -> bool {
        let of_user = self.users.get(&identity.user).is_some_and(|entry| {
            // `<=`: a token of the same millisecond may have been issued before.
            let is_older = identity.issued_at.is_none_or(|issued| issued <= entry.revoked_at);
            !entry.has_expired(now) && is_older
        });
        let of_token = || {
            let entry = identity.token_id.as_ref().and_then(|id| self.tokens.get(id));
            entry.is_some_and(|entry| !entry.has_expired(now))
        };
        of_user || of_token()
    }

    fn valid(&self, now: Now) -> impl Iterator<Item = (Target, Entry)> {
        let users = self.users.iter().map(|(user, entry)| (Target::User(user.clone()), *entry));
        let tokens = self.tokens.iter().map(|(id, entry)| (Target::Token(id.clone()), *entry));
        users.chain(tokens).filter(move |(_, entry)| !entry.has_expired(now))
    }
}

fn revocation(target: Target, entry: Entry) -> Revocation {
    Revocation { target, revoked_at: entry.revoked_at, until: entry.until }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    const ID: &str = "a";

    fn identity() -> Identity {
        let user = UserId::new("ann").unwrap();
        Identity { token_id: Some(ID.into()), ..Identity::new(user, rejoin_core::Caps::default()) }
    }

    fn revoke(entries: &mut Entries, now: Now, until: u64) {
        let target = Target::Token(ID.into());
        entries.insert(Revocation { target, revoked_at: now.wall, until }, now).unwrap();
    }

    #[test]
    fn a_revocation_expires_when_both_clocks_say_so() {
        let begin = Now { wall: 1000, monotonic: Instant::now() };
        // The advance of the wall clock, of the monotonic clock, and the expected result.
        for (wall, monotonic, has_expired) in [
            (999, 999, false),
            (1000, 999, false),
            (999, 1000, false),
            (1000, 1000, true),
            (40 * 24 * 60 * 60 * 1000, 10, false),
        ] {
            let mut entries = Entries::default();
            revoke(&mut entries, begin, 2000);

            let now = Now {
                wall: begin.wall + wall,
                monotonic: begin.monotonic + Duration::from_millis(monotonic),
            };
            assert_eq!(entries.is_revoked(&identity(), now), !has_expired, "{wall} {monotonic}");

            entries.remove_expired(now);
            let expected = usize::from(!has_expired);
            assert_eq!((entries.len(), entries.list(now).len()), (expected, expected));
            // A wall clock that is corrected changes nothing.
            assert_eq!(entries.is_revoked(&identity(), begin), !has_expired, "{wall} {monotonic}");
        }
    }

    #[test]
    fn of_two_revocations_the_later_expiry_counts() {
        let begin = Now { wall: 1000, monotonic: Instant::now() };
        let mut entries = Entries::default();
        revoke(&mut entries, begin, 3000);
        revoke(&mut entries, begin, 2000);

        let now = Now { wall: 2999, monotonic: begin.monotonic + Duration::from_secs(10) };

        assert!(entries.is_revoked(&identity(), now));
        assert!(!entries.is_revoked(&identity(), Now { wall: 3000, ..now }));
    }
}
