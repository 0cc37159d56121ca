//! The journal's task: commits, rewrites, and the restore at the start.

use std::collections::HashMap;

use bytes::Bytes;
use rejoin_protocol::{Position, TopicName};
use tracing::warn;

use crate::{
    backend::{JournalRecord, StoreError},
    frame::PayloadKind,
    hub::{Hub, durable::Failure, topic::Topic},
    saved::{SavedFrame, SavedStream, StreamOwner, instant},
    time::now_ms,
};

/// The growth of the journal, in bytes, after which it is rewritten. It is also never rewritten
/// before it has doubled.
const MIN_GROWTH: u64 = 8 * 1024 * 1024;

impl Hub {
    /// Commits the messages of durable topics until the shutdown, and then those that are left.
    pub(in crate::hub) async fn run_journal_until_shutdown(&self) {
        let shared = &self.shared;
        let mut failure = Failure::default();
        let mut rewrite_at = MIN_GROWTH;
        loop {
            tokio::select! {
                () = shared.durable.ready.notified() => {}
                () = shared.shutdown.begun() => break,
            }

            let published = &shared.metrics.published;
            let Some(bytes) = shared.durable.commit(published, &mut failure).await else {
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

        // A publish either passed the gate before this, and is queued once its stream is unlocked,
        // or is refused.
        shared.gate.close();
        for topic in shared.topics.durable() {
            let _ = topic.stream().head();
        }
        while !shared.durable.queued.lock().messages.is_empty() {
            shared.durable.commit(&shared.metrics.published, &mut failure).await;
        }
    }

    /// Restores the durable topics of the last process.
    ///
    /// # Errors
    /// If the journal cannot be read or written to.
    pub(in crate::hub) async fn load_journal(&self) -> Result<(), StoreError> {
        let records = self.shared.durable.journal.load().await?;
        let is_unused = records.is_empty();
        self.shared.durable.keys.lock().add_stored(&records);
        let mut streams: HashMap<TopicName, SavedStream> = HashMap::new();
        let now = now_ms();
        for record in records {
            let JournalRecord { topic, creator, epoch, head, at, text, key } = record;
            if let Some((user, key)) = key {
                let position = Position { epoch, offset: head };
                let at = instant(now.saturating_sub(at));
                self.shared.published.restore(&user, (topic.clone(), key), position, at);
                if text.is_none() {
                    continue;
                }
            }

            let owner = StreamOwner::Topic { name: topic.clone(), creator };
            let new = || SavedStream { owner, epoch, head: 0, idle_ms: 0, frames: Vec::new() };
            let stream = streams.entry(topic).or_insert_with(new);
            // The name was used again after its first topic was dropped, or the head stands alone.
            if stream.epoch != epoch || stream.head + 1 != head {
                (stream.epoch, stream.frames) = (epoch, Vec::new());
            }
            let age_ms = now.saturating_sub(at);
            (stream.head, stream.idle_ms) = (head, age_ms);
            let frame = text.map(|text| SavedFrame {
                age_ms,
                kind: PayloadKind::Text,
                payload: Bytes::from(text),
            });
            stream.frames.extend(frame);
        }

        for (name, stream) in streams {
            if let StreamOwner::Topic { creator, .. } = stream.owner.clone() {
                self.shared.topics.restore(name, creator, &stream);
            }
        }

        // Topics may have become durable, or have ceased to be, by a change of the configuration.
        // The journal must not keep the positions of those that go on without it.
        if !is_unused || !self.shared.topics.durable().is_empty() {
            self.rewrite_journal().await?;
        }
        Ok(())
    }

    /// Replaces the journal by what the durable topics retain. Not while a commit runs.
    async fn rewrite_journal(&self) -> Result<u64, StoreError> {
        let topics = self.shared.topics.durable();
        let mut records = self.shared.durable.keys.lock().stored();
        records.extend(topics.iter().flat_map(records_of));
        self.shared.durable.journal.replace(&records).await
    }
}

/// Returns the records of the messages that a topic retains, or of its head.
fn records_of(topic: &Topic) -> Vec<JournalRecord> {
    let creator = topic.creator().clone();
    let owner = StreamOwner::Topic { name: topic.name().clone(), creator: creator.clone() };
    let SavedStream { epoch, head, idle_ms, frames, .. } = topic.stream().save(owner);

    let now = now_ms();
    let first = head - frames.len() as u64;
    let record = |head, age_ms: u64, text| JournalRecord {
        topic: topic.name().clone(),
        creator: creator.clone(),
        epoch,
        head,
        at: now.saturating_sub(age_ms),
        text,
        key: None,
    };
    let mut records: Vec<_> = frames
        .iter()
        .zip(first + 1..)
        .map(|(frame, head)| {
            let text = String::from_utf8_lossy(&frame.payload).into_owned();
            record(head, frame.age_ms, Some(text))
        })
        .collect();
    if records.is_empty() && head > 0 {
        records.push(record(head, idle_ms, None));
    }
    records
}
