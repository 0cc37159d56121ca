//! The idempotency keys of durable messages.

use std::collections::{HashMap, VecDeque};

use rejoin_protocol::{Position, RequestKey, TopicName, UserId, message::ErrorBody};
use tokio::sync::watch;

use crate::{
    backend::{JournalMessage, JournalRecord, StoredKey, StreamOwner},
    idempotency::{KEY_LIFETIME, MAX_KEYS},
    time::now_ms,
};

/// The publisher, the topic and the key of a message.
pub(super) type KeyId = (UserId, TopicName, RequestKey);

/// The result of a message, as soon as it is known.
pub(super) type Outcome = watch::Receiver<Option<Result<Position, ErrorBody>>>;

/// The keys that a retry may use. They outlive a cancelled request, as well as a rewrite of the
/// journal, which drops messages.
#[derive(Default)]
pub(super) struct Keys {
    /// The keys of durable messages, oldest first.
    stored: VecDeque<StoredKey>,
    positions: HashMap<KeyId, Position>,
    /// The keys of messages that are not durable yet.
    pending: HashMap<KeyId, Outcome>,
}

/// An earlier request with the same key.
pub(super) enum Earlier {
    Stored(Position),
    Pending(Outcome),
}

impl Keys {
    /// Adds the keys of durable records, and drops those that a retry may no longer use.
    pub(super) fn add_stored(&mut self, records: &[JournalRecord]) {
        for stored in records.iter().filter_map(stored_key) {
            let StoredKey { user, topic, key, position, .. } = stored.clone();
            // A clean stop writes the keys of durable topics with those of all others.
            if self.positions.insert((user, topic, key), position) != Some(position) {
                self.stored.push_back(stored);
            }
        }

        let lifetime = u64::try_from(KEY_LIFETIME.as_millis()).unwrap_or(u64::MAX);
        let oldest = now_ms().saturating_sub(lifetime);
        while let Some(first) = self.stored.front()
            && (first.at < oldest || self.stored.len() > MAX_KEYS)
            && let Some(expired) = self.stored.pop_front()
        {
            self.positions.remove(&(expired.user, expired.topic, expired.key));
        }
    }

    /// Returns all keys that a retry may use, oldest first.
    pub(super) fn stored(&self) -> impl Iterator<Item = &StoredKey> {
        self.stored.iter()
    }

    pub(super) fn add_pending(&mut self, id: KeyId, outcome: Outcome) {
        self.pending.insert(id, outcome);
    }

    pub(super) fn remove_pending(&mut self, id: &KeyId) {
        self.pending.remove(id);
    }

    /// Returns the earlier request with a key, if there is one.
    pub(super) fn earlier(&self, id: &KeyId) -> Option<Earlier> {
        let stored = self.positions.get(id).map(|position| Earlier::Stored(*position));
        stored.or_else(|| self.pending.get(id).cloned().map(Earlier::Pending))
    }
}

/// Returns the key of a record, if it has one.
fn stored_key(record: &JournalRecord) -> Option<StoredKey> {
    match record {
        JournalRecord::Key(stored) => Some(stored.clone()),
        JournalRecord::Message(JournalMessage {
            stream: StreamOwner::Topic { name, .. },
            position,
            at,
            key: Some((user, key)),
            ..
        }) => {
            let (user, topic, key) = (user.clone(), name.clone(), key.clone());
            Some(StoredKey { user, topic, key, position: *position, at: *at })
        }
        _ => None,
    }
}
