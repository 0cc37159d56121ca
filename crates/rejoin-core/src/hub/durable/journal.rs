//! The journal's task, which commits and rewrites, and the save during a clean stop.

use rejoin_protocol::Position;
use tracing::warn;

use crate::{
    backend::{JournalMessage, JournalRecord, JournalRecords, StoreError, StoredKey, StreamOwner},
    hub::{Hub, durable::Failure, topic::Durability, topic_stream::JournalStream},
    saved::SavedStream,
    time::now_ms,
};

/// The number of bytes by which the journal must exceed twice its size after the last rewrite
/// before it is rewritten again.
const MIN_GROWTH: u64 = 8 * 1024 * 1024;

impl Hub {
    /// Commits the messages of durable streams until the shutdown, and then the remaining ones.
    pub(in crate::hub) async fn run_journal_until_shutdown(&self) {
        let shared = &self.shared;
        let mut failure = Failure::default();
        let mut rewrite_at = MIN_GROWTH;
        loop {
            tokio::select! {
                () = shared.durable.ready.notified() => {}
                () = shared.shutdown.begun() => break,
            }

            let Some(bytes) = shared.durable.commit(&shared.metrics, &mut failure).await else {
                continue;
            };
            if bytes > rewrite_at {
                rewrite_at = match self.rewrite_journal().await {
                    Ok(bytes) => bytes * 2 + MIN_GROWTH,
                    Err(error) => {
                        warn!(%error, "the journal keeps growing because it cannot be rewritten");
                        bytes + MIN_GROWTH
                    }
                };
            }
        }

        // A message either passed the gate before this and is queued once its stream is unlocked,
        // or is refused.
        shared.gate.close();
        for JournalStream { stream, .. } in self.durable_state().1 {
            let _ = stream.head();
        }
        while !shared.durable.queued.lock().messages.is_empty() {
            shared.durable.commit(&shared.metrics, &mut failure).await;
        }
    }

    /// Writes the state for the next process to the journal, including streams that are not
    /// durable. Must be called after all tasks have ended.
    ///
    /// Refuses later publishes, emits and input with `overloaded`, so that no position is assigned
    /// twice.
    ///
    /// # Errors
    /// If the journal cannot be written. It then contains only the durable streams.
    pub async fn save(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        // Closes the gate first: an append either precedes the save of its stream or is refused.
        shared.gate.close();

        let (mut records, mut streams) = shared.implicit_streams.save();
        records.extend(shared.durable.stored_keys().into_iter().map(JournalRecord::Key));
        let now = now_ms();
        let keys = shared.published.results().into_iter().map(|((user, key), position, age_ms)| {
            let (topic, key) = key;
            let at = now.saturating_sub(age_ms);
            JournalRecord::Key(StoredKey { user, topic, key, position, at })
        });
        records.extend(keys);
        streams.extend(shared.topics.streams(Durability::Journal));
        streams.extend(shared.topics.streams(Durability::Memory));
        shared.durable.journal.replace(all_records(records, streams)).await.map(drop)
    }

    /// Replaces the journal by what the durable streams retain. Must not run during a commit.
    pub(in crate::hub) async fn rewrite_journal(&self) -> Result<u64, StoreError> {
        let (mut records, streams) = self.durable_state();
        records.extend(self.shared.durable.stored_keys().into_iter().map(JournalRecord::Key));
        self.shared.durable.journal.replace(all_records(records, streams)).await
    }

    /// Returns the durable streams, and the records that precede theirs.
    fn durable_state(&self) -> (Vec<JournalRecord>, Vec<JournalStream>) {
        let shared = &self.shared;
        let (records, mut streams) = match shared.config.emit_durability {
            Durability::Journal => shared.implicit_streams.save(),
            Durability::Memory => (Vec::new(), Vec::new()),
        };
        streams.extend(shared.topics.streams(Durability::Journal));
        (records, streams)
    }
}

/// Returns all records of a rewrite. Copies the messages of only one stream at a time.
fn all_records(records: Vec<JournalRecord>, streams: Vec<JournalStream>) -> JournalRecords {
    let of_streams = streams.into_iter().flat_map(|stream| stream_records(&stream));
    Box::new(records.into_iter().chain(of_streams))
}

/// Returns the records of the messages that a stream retains, and the record of its head.
fn stream_records(JournalStream { owner, stream }: &JournalStream) -> Vec<JournalRecord> {
    let SavedStream { head, frames } = stream.save();

    let now = now_ms();
    let first = head.offset - frames.len() as u64;
    let messages = frames.iter().zip(first + 1..).map(|(frame, offset)| {
        JournalRecord::Message(JournalMessage {
            stream: owner.clone(),
            position: Position { offset, ..head },
            at: now.saturating_sub(frame.age_ms),
            text: String::from_utf8_lossy(&frame.payload).into_owned(),
            key: None,
        })
    });

    let mut records: Vec<_> = messages.collect();
    // The stream of everyone exists before its first message, and clients have positions of it.
    if head.offset > 0 || *owner == StreamOwner::Everyone {
        records.push(JournalRecord::Head { stream: owner.clone(), position: head });
    }
    records
}
