//! Restores the streams of the previous process from the journal.

use std::collections::HashMap;

use bytes::Bytes;
use rejoin_protocol::{Position, TopicName, UserId};

use crate::{
    backend::{Eviction, JournalMessage, JournalRecord, StoreError, StoredKey, StreamOwner},
    hub::{
        Hub,
        implicit_streams::{ImplicitStreamKey, SavedImplicitStreams},
    },
    saved::{SavedFrame, SavedStream, instant},
    time::now_ms,
};

/// The streams of the previous process.
#[derive(Debug, Default)]
struct SavedStreams {
    implicit: SavedImplicitStreams,
    /// The topics with their creators.
    topics: HashMap<TopicName, (UserId, SavedStream)>,
}

impl SavedStreams {
    /// Collects the streams from a journal. `now` is in milliseconds since the Unix epoch.
    fn from_records(records: Vec<JournalRecord>, now: u64) -> Self {
        let mut saved = Self::default();
        // If the clock was set back in the meantime, the age is unknown and counts as 0.
        let age = |at| now.saturating_sub(at);
        for record in records {
            match record {
                JournalRecord::Message(message) => {
                    let JournalMessage { stream: owner, position, at, text, key: _ } = message;
                    let frame = SavedFrame { age_ms: age(at), payload: Bytes::from(text) };
                    saved.stream(owner, position).append(position, frame);
                }
                JournalRecord::Head { stream: owner, position } => {
                    saved.stream(owner, position).end_at(position);
                }
                // `DurableQueue::load` has read it.
                JournalRecord::Key(_) => {}
                JournalRecord::Clock(clock) => saved.implicit.clock = Some(clock),
                JournalRecord::Eviction(Eviction { user, epoch }) => {
                    saved.implicit.record_eviction(user, epoch);
                }
                JournalRecord::Dropped { stream, epoch, last } => {
                    if let Some(key) = ImplicitStreamKey::of_owner(stream) {
                        saved.implicit.drop_stream(&key, epoch, last);
                    }
                }
            }
        }
        saved
    }

    /// Returns the stream of an owner, for a record at `position`.
    fn stream(&mut self, owner: StreamOwner, position: Position) -> &mut SavedStream {
        let new = || SavedStream::new(position.epoch);
        if let StreamOwner::Topic { name, creator } = owner {
            // The name may have been used again after its first topic was dropped.
            let (known, stream) =
                self.topics.entry(name).or_insert_with(|| (creator.clone(), new()));
            *known = creator;
            return stream;
        }

        match ImplicitStreamKey::of_owner(owner) {
            Some(key) => self.implicit.stream(key, position.epoch),
            None => self.implicit.everyone.get_or_insert_with(new),
        }
    }
}

impl SavedImplicitStreams {
    /// Returns an implicit stream, for a record in this epoch.
    fn stream(&mut self, key: ImplicitStreamKey, epoch: u64) -> &mut SavedStream {
        let known = self.streams.get(&key).map(|stream| stream.head.epoch);
        if known.is_some_and(|known| known != epoch) {
            // The stream was dropped and created again. An older position must not be mistaken for
            // the start of the new stream.
            self.record_eviction(key.user().clone(), epoch.saturating_sub(1));
        }
        self.streams.entry(key).or_insert_with(|| SavedStream::new(epoch))
    }

    fn drop_stream(&mut self, key: &ImplicitStreamKey, epoch: u64, last: u64) {
        self.record_eviction(key.user().clone(), last.max(epoch));
        // The stream may have been created again before the record was written.
        if self.streams.get(key).is_some_and(|stream| stream.head.epoch == epoch) {
            self.streams.remove(key);
        }
    }

    fn record_eviction(&mut self, user: UserId, epoch: u64) {
        let last = self.evicted.entry(user).or_default();
        *last = epoch.max(*last);
    }
}

impl Hub {
    /// Restores the streams of the previous process.
    ///
    /// # Errors
    /// If the journal cannot be read or written to.
    pub(super) async fn load_journal(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let records = shared.durable.load().await?;
        let now = now_ms();
        let SavedStreams { implicit, topics } = SavedStreams::from_records(records, now);

        shared.implicit_streams.restore(implicit);
        for (name, (creator, stream)) in topics {
            shared.topics.restore(name, creator, &stream);
        }
        for StoredKey { user, topic, key, position, at } in shared.durable.stored_keys() {
            let at = instant(now.saturating_sub(at));
            shared.published.restore(&user, (topic, key), position, at);
        }

        // The journal must not keep the positions of streams that continue without it: those that
        // are not durable, or that a change of the configuration has made not durable.
        self.rewrite_journal().await.map(drop)
    }
}
