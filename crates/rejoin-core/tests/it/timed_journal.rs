//! A journal for tests with a paused clock.

use std::sync::Arc;

use rejoin_core::{BoxFuture, Journal, JournalRecord, JournalRecords, MemoryJournal, StoreError};
use tokio::time::Instant;

use crate::support::move_time;

/// A journal whose times follow the clock of the test, which may be paused.
#[derive(Debug)]
pub(crate) struct TimedJournal {
    journal: MemoryJournal,
    start: Instant,
}

impl TimedJournal {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { journal: MemoryJournal::default(), start: Instant::now() })
    }

    /// Returns a copy for the next process. What this one still writes does not count.
    pub(crate) async fn copy(&self) -> Arc<Self> {
        let journal = MemoryJournal::default();
        journal.append(&self.journal.load().await.unwrap()).await.unwrap();
        Arc::new(Self { journal, start: self.start })
    }

    fn passed_ms(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis()).unwrap()
    }
}

impl Journal for TimedJournal {
    fn load(&self) -> BoxFuture<'_, Result<Vec<JournalRecord>, StoreError>> {
        Box::pin(async move {
            let mut records = self.journal.load().await?;
            records.iter_mut().for_each(|record| move_time(record, -self.passed_ms()));
            Ok(records)
        })
    }

    fn append<'a>(
        &'a self,
        records: &'a [JournalRecord],
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        let mut records = records.to_vec();
        records.iter_mut().for_each(|record| move_time(record, self.passed_ms()));
        Box::pin(async move { self.journal.append(&records).await })
    }

    fn replace(&self, records: JournalRecords) -> BoxFuture<'_, Result<u64, StoreError>> {
        let passed = self.passed_ms();
        self.journal.replace(Box::new(records.map(move |mut record| {
            move_time(&mut record, passed);
            record
        })))
    }
}
