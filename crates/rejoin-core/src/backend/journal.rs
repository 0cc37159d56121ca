//! The journal: the messages of durable topics, on disk before they are acknowledged.

use std::fmt;

use futures_util::future::{BoxFuture, ready};
use rejoin_protocol::{RequestKey, TopicName, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    backend::StoreError,
    lock::{Mutex, level::LEAF},
};

/// Keeps the messages of durable topics for the next process.
pub trait Journal: fmt::Debug + Send + Sync {
    /// Returns all records, oldest first. Called once, before any other method.
    fn load(&self) -> BoxFuture<'_, Result<Vec<JournalRecord>, StoreError>>;

    /// Appends records, all or none. They are durable when the call returns.
    ///
    /// Returns the size of the journal, in bytes.
    fn append<'a>(&'a self, records: &'a [JournalRecord])
    -> BoxFuture<'a, Result<u64, StoreError>>;

    /// Replaces all records, durably. Returns the size of the journal, in bytes.
    fn replace<'a>(
        &'a self,
        records: &'a [JournalRecord],
    ) -> BoxFuture<'a, Result<u64, StoreError>>;
}

/// A message of a durable topic, or the state of a topic that retains none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRecord {
    /// The topic.
    pub topic: TopicName,
    /// The user whose first use created the topic.
    pub creator: UserId,
    /// The epoch of the topic's positions.
    pub epoch: u64,
    /// The number of messages ever published to the topic in this epoch, with this one.
    pub head: u64,
    /// The time of the message, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The text that subscribers receive; `None` if no message is retained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The publisher and the idempotency key, if the message has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<(UserId, RequestKey)>,
}

impl JournalRecord {
    /// Returns the approximate size in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.as_ref().map_or(0, String::len)
    }
}

/// A journal in memory, which ends with the process.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    records: Mutex<Vec<JournalRecord>, LEAF>,
}

impl MemoryJournal {
    fn size(records: &[JournalRecord]) -> u64 {
        records.iter().map(|record| record.bytes() as u64).sum()
    }
}

impl Journal for MemoryJournal {
    fn load(&self) -> BoxFuture<'_, Result<Vec<JournalRecord>, StoreError>> {
        Box::pin(ready(Ok(self.records.lock().clone())))
    }

    fn append<'a>(
        &'a self,
        records: &'a [JournalRecord],
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        let mut all = self.records.lock();
        all.extend_from_slice(records);
        Box::pin(ready(Ok(Self::size(&all))))
    }

    fn replace<'a>(
        &'a self,
        records: &'a [JournalRecord],
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        *self.records.lock() = records.to_vec();
        Box::pin(ready(Ok(Self::size(records))))
    }
}
