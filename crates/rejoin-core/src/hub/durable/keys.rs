//! The idempotency keys of durable messages.

use std::collections::{HashMap, VecDeque};

use rejoin_protocol::{Position, RequestKey, TopicName, UserId, message::ErrorBody};
use tokio::sync::watch;

use crate::{backend::JournalRecord, idempotency::KEY_LIFETIME, time::now_ms};

/// The publisher, the topic and the key of a message.
pub(super) type KeyId = (UserId, TopicName, RequestKey);

/// The result of a message, once there is one.
pub(super) type Outcome = watch::Receiver<Option<Result<Position, ErrorBody>>>;

/// The keys that a retry may use. They outlive a cancelled request, and a rewrite of the journal,
/// which drops messages.
#[derive(Default)]
pub(super) struct Keys {
    /// Records without a text, oldest first.
    stored: VecDeque<JournalRecord>,
    positions: HashMap<KeyId, Position>,
    /// The messages that are not durable yet.
    pending: HashMap<KeyId, Outcome>,
}

/// An earlier request with the same key, whose caller has not waited for the result.
pub(super) enum Earlier {
    Stored(Position),
    Pending(Outcome),
}

impl Keys {
    /// Adds the keys of durable records, and drops those that no retry may use any more.
    pub(super) fn add_stored(&mut self, records: &[JournalRecord]) {
        for record in records {
            let Some((user, key)) = record.key.clone() else { continue };
            let position = Position { epoch: record.epoch, offset: record.head };
            self.positions.insert((user, record.topic.clone(), key), position);
            self.stored.push_back(JournalRecord { text: None, ..record.clone() });
        }

        let lifetime = u64::try_from(KEY_LIFETIME.as_millis()).unwrap_or(u64::MAX);
        let oldest = now_ms().saturating_sub(lifetime);
        while let Some(record) = self.stored.pop_front_if(|record| record.at < oldest) {
            if let Some((user, key)) = record.key {
                self.positions.remove(&(user, record.topic, key));
            }
        }
    }

    /// Returns the records of all keys that a retry may use.
    pub(super) fn stored(&self) -> Vec<JournalRecord> {
        self.stored.iter().cloned().collect()
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
