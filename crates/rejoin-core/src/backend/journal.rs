//! The journal, which keeps the messages and positions of streams for the next process.

mod record;

use std::fmt;

use futures_util::future::{BoxFuture, ready};

pub use record::{EpochClock, Eviction, JournalMessage, JournalRecord, StoredKey, StreamOwner};

use crate::{
    backend::StoreError,
    lock::{Mutex, level::LEAF},
};

/// The records of a rewrite, created one by one so that they are never all in memory.
pub type JournalRecords = Box<dyn Iterator<Item = JournalRecord> + Send>;

/// Keeps messages and positions for the next process.
///
/// The messages of durable streams are appended before they are acknowledged. A rewrite replaces
/// everything. The one during a clean stop includes the streams that are not durable.
pub trait Journal: fmt::Debug + Send + Sync {
    /// Returns all records, oldest first. Called once, before any other method.
    ///
    /// # Errors
    /// If the journal cannot be read.
    fn load(&self) -> BoxFuture<'_, Result<Vec<JournalRecord>, StoreError>>;

    /// Appends records, all or none. They are durable once the call returns.
    ///
    /// Returns the size of the journal, in bytes.
    ///
    /// # Errors
    /// If the records could not be stored. The journal is then as before.
    fn append<'a>(&'a self, records: &'a [JournalRecord])
    -> BoxFuture<'a, Result<u64, StoreError>>;

    /// Replaces all records durably, or leaves them unchanged.
    ///
    /// Returns the size of the journal, in bytes.
    ///
    /// # Errors
    /// If the records could not be stored. The journal is then as before.
    fn replace(&self, records: JournalRecords) -> BoxFuture<'_, Result<u64, StoreError>>;
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

    fn replace(&self, records: JournalRecords) -> BoxFuture<'_, Result<u64, StoreError>> {
        // Collected before the lock, because the iterator locks streams.
        let records: Vec<_> = records.collect();
        let size = Self::size(&records);
        *self.records.lock() = records;
        Box::pin(ready(Ok(size)))
    }
}
