//! Durable topics: a message is in the journal before it is acknowledged and delivered.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rejoin_protocol::{ErrorCode, Position, RequestKey, TopicName, UserId, message::ErrorBody};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};
use tracing::{error, info};

use crate::{
    backend::{Journal, JournalRecord, StoreError},
    frame::PayloadKind,
    hub::{Hub, PublishProgress, topic::Topic},
    idempotency::KEY_LIFETIME,
    lock::{Mutex, level::LEAF},
    saved::{SavedFrame, SavedStream, StreamOwner, instant},
    stream::{Reservation, Stream},
    time::now_ms,
};

/// The size of the queued messages, in bytes, above which publishes are refused.
const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;
/// The growth of the journal, in bytes, after which it is rewritten. It is also never rewritten
/// before it has doubled.
const MIN_GROWTH: u64 = 8 * 1024 * 1024;
/// The time before a failed rewrite is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Called with the position of a durable message, or with the error that refused it.
pub type Confirm = Box<dyn FnOnce(Result<Position, ErrorBody>) + Send>;

/// The queue of messages that are not in the journal yet. One task commits them, in groups.
pub(super) struct DurableQueue {
    journal: Arc<dyn Journal>,
    queued: Mutex<Queued, LEAF>,
    keys: Mutex<Keys, LEAF>,
    /// Notified when a message is queued.
    ready: Notify,
}

#[derive(Default)]
struct Queued {
    messages: Vec<QueuedMessage>,
    bytes: usize,
}

/// A message that has a position and is not durable yet.
struct QueuedMessage {
    stream: Stream,
    reservation: Reservation,
    record: JournalRecord,
    confirm: Confirm,
}

/// The publisher, the topic and the key of a message.
type KeyId = (UserId, TopicName, RequestKey);

/// The keys that a retry may use. They outlive a cancelled request, and a rewrite of the journal,
/// which drops messages.
#[derive(Default)]
struct Keys {
    /// Records without a text, oldest first.
    stored: VecDeque<JournalRecord>,
    positions: HashMap<KeyId, Position>,
    /// The results of messages that are not durable yet.
    pending: HashMap<KeyId, watch::Receiver<Option<Result<Position, ErrorBody>>>>,
}

impl Keys {
    fn add(&mut self, record: &JournalRecord) {
        let Some((user, key)) = record.key.clone() else { return };
        let position = Position { epoch: record.epoch, offset: record.head };
        self.positions.insert((user, record.topic.clone(), key), position);
        self.stored.push_back(JournalRecord { text: None, ..record.clone() });
    }

    fn expire(&mut self) {
        let lifetime = u64::try_from(KEY_LIFETIME.as_millis()).unwrap_or(u64::MAX);
        let oldest = now_ms().saturating_sub(lifetime);
        while let Some(record) = self.stored.pop_front_if(|record| record.at < oldest) {
            if let Some((user, key)) = record.key {
                self.positions.remove(&(user, record.topic, key));
            }
        }
    }
}

impl DurableQueue {
    pub(super) fn new(journal: Arc<dyn Journal>) -> Self {
        let (queued, keys) = (Mutex::default(), Mutex::default());
        Self { journal, queued, keys, ready: Notify::new() }
    }

    /// Checks that there is room for a message.
    ///
    /// # Errors
    /// `overloaded`: the disk is slower than the publishers.
    fn check(&self) -> Result<(), ErrorBody> {
        if self.queued.lock().bytes < MAX_QUEUED_BYTES {
            return Ok(());
        }
        let sentence = "too many messages wait for the disk; try again later";
        Err(ErrorBody::new(ErrorCode::Overloaded, sentence))
    }

    /// Queues a message. Called under the lock of its stream, which gives the order.
    fn push(&self, message: QueuedMessage) {
        let mut queued = self.queued.lock();
        queued.bytes += message.record.bytes();
        queued.messages.push(message);
        drop(queued);
        self.ready.notify_one();
    }

    /// Commits everything that is queued, and calls the confirmations. Returns the size of the
    /// journal; `None` if nothing was queued or the commit failed.
    async fn commit(&self, failure: &mut Failure) -> Option<u64> {
        let Queued { messages, .. } = mem::take(&mut *self.queued.lock());
        // Queued before an earlier failure was noticed: their positions are not theirs any more.
        let (messages, discarded): (Vec<_>, Vec<_>) =
            messages.into_iter().partition(|it| it.stream.is_reserved(&it.reservation));
        discarded.into_iter().for_each(|message| (message.confirm)(Err(not_stored())));
        if messages.is_empty() {
            return None;
        }

        let (records, pending): (Vec<_>, Vec<_>) =
            messages.into_iter().map(QueuedMessage::split).unzip();
        let committed = self.journal.append(&records).await;
        failure.report(committed.as_ref().err());

        if committed.is_err() {
            // All of them first, so that no later message of a stream takes over a position whose
            // own message is still expected.
            pending.iter().for_each(|(stream, ..)| stream.discard_reserved());
            pending.into_iter().for_each(|(.., confirm)| confirm(Err(not_stored())));
            return None;
        }

        self.keep_keys(&records);
        for (stream, position, confirm) in pending {
            stream.append_reserved();
            confirm(Ok(position));
        }
        committed.ok()
    }

    /// Keeps the keys of these records for as long as a retry may use them.
    fn keep_keys(&self, records: &[JournalRecord]) {
        let mut keys = self.keys.lock();
        records.iter().for_each(|record| keys.add(record));
        keys.expire();
    }

    /// Returns what is known of an earlier request with the same key.
    fn earlier(&self, id: &KeyId) -> Option<Earlier> {
        let keys = self.keys.lock();
        let stored = keys.positions.get(id).map(|position| Earlier::Stored(*position));
        stored.or_else(|| keys.pending.get(id).cloned().map(Earlier::Pending))
    }
}

/// An earlier request with the same key, whose caller has not waited for the result.
enum Earlier {
    Stored(Position),
    Pending(watch::Receiver<Option<Result<Position, ErrorBody>>>),
}

impl QueuedMessage {
    fn split(self) -> (JournalRecord, (Stream, Position, Confirm)) {
        (self.record, (self.stream, self.reservation.position, self.confirm))
    }
}

/// Reports each problem of the journal once, and its end.
#[derive(Default)]
struct Failure {
    last: Option<String>,
}

impl Failure {
    fn report(&mut self, error: Option<&StoreError>) {
        match error.map(ToString::to_string) {
            Some(error) if self.last.as_ref() != Some(&error) => {
                error!(error, "messages of durable topics cannot be stored and are refused");
                self.last = Some(error);
            }
            Some(_) => {}
            None if self.last.take().is_some() => {
                info!("messages of durable topics are stored again");
            }
            None => {}
        }
    }
}

fn not_stored() -> ErrorBody {
    let sentence = "the message could not be stored, and was not published; try again later";
    ErrorBody::new(ErrorCode::Overloaded, sentence)
}

/// A key whose message is not durable yet; dropping it forgets the key.
struct PendingKey {
    hub: Hub,
    id: Option<KeyId>,
}

impl Drop for PendingKey {
    fn drop(&mut self) {
        if let Some(id) = &self.id {
            self.hub.shared.durable.keys.lock().pending.remove(id);
        }
    }
}

async fn wait(
    mut result: watch::Receiver<Option<Result<Position, ErrorBody>>>,
) -> Result<Position, ErrorBody> {
    let result = result.wait_for(Option::is_some).await;
    result.ok().and_then(|result| result.clone()).unwrap_or_else(|| Err(not_stored()))
}

impl Hub {
    /// Publishes to a durable topic, and waits until the message is durable.
    ///
    /// `key` is the publisher and the idempotency key; calls with the same one follow each other.
    ///
    /// # Errors
    /// `overloaded` if the message cannot be stored; the error of `text`.
    pub(super) async fn store(
        &self,
        topic: &Topic,
        key: Option<(&UserId, &RequestKey)>,
        text: impl Fn(Position) -> Result<String, ErrorBody>,
    ) -> Result<Position, ErrorBody> {
        let key = key.map(|(user, key)| (user.clone(), key.clone()));
        let id = key.clone().map(|(user, key)| (user, topic.name().clone(), key));
        match id.as_ref().and_then(|id| self.shared.durable.earlier(id)) {
            Some(Earlier::Stored(position)) => return Ok(position),
            Some(Earlier::Pending(result)) => return wait(result).await,
            None => self.shared.durable.check()?,
        }

        let (result_tx, result) = watch::channel(None);
        if let Some(id) = id.clone() {
            self.shared.durable.keys.lock().pending.insert(id, result.clone());
        }
        let pending = PendingKey { hub: self.clone(), id };
        let confirm: Confirm = Box::new(move |result| {
            drop(pending);
            result_tx.send_replace(Some(result));
        });

        let mut confirm = Some(confirm);
        let queue = |reservation| {
            if let Some(confirm) = confirm.take() {
                self.queue(topic, key.clone(), (reservation, confirm));
            }
        };
        topic.stream().reserve(text, queue).await?;
        wait(result).await
    }

    /// Publishes to a durable topic if there is room, and calls the confirmation later.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    pub(super) fn try_store(
        &self,
        topic: &Topic,
        text: impl Fn(Position) -> Result<String, ErrorBody>,
        confirm: impl FnOnce() -> Confirm,
    ) -> Result<PublishProgress, ErrorBody> {
        self.shared.durable.check()?;
        let mut confirm = Some(confirm);
        let mut queue = |reservation| {
            if let Some(confirm) = confirm.take() {
                self.queue(topic, None, (reservation, confirm()));
            }
        };
        match topic.stream().try_reserve(&text, &mut queue) {
            Ok(reserved) => reserved.map(|()| PublishProgress::Queued),
            Err(_) => Ok(PublishProgress::Full),
        }
    }

    fn queue(
        &self,
        topic: &Topic,
        key: Option<(UserId, RequestKey)>,
        (reservation, confirm): (Reservation, Confirm),
    ) {
        let position = reservation.position;
        let record = JournalRecord {
            topic: topic.name().clone(),
            creator: topic.creator().clone(),
            epoch: position.epoch,
            head: position.offset,
            at: now_ms(),
            text: Some(String::from_utf8_lossy(&reservation.payload).into_owned()),
            key,
        };
        let stream = topic.stream().clone();
        self.shared.durable.push(QueuedMessage { stream, reservation, record, confirm });
    }

    /// Commits the messages of durable topics until the shutdown, and then those that are left.
    pub(super) async fn run_journal_until_shutdown(&self) {
        let shared = &self.shared;
        let mut failure = Failure::default();
        // What `load_journal` has written.
        let mut rewritten = 0;
        loop {
            tokio::select! {
                () = shared.durable.ready.notified() => {}
                () = shared.shutdown.begun() => break,
            }

            let Some(bytes) = shared.durable.commit(&mut failure).await else { continue };
            if bytes > rewritten * 2 + MIN_GROWTH {
                rewritten = match self.rewrite_journal().await {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        failure.report(Some(&error));
                        sleep(RETRY).await;
                        rewritten
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
            shared.durable.commit(&mut failure).await;
        }
    }

    /// Restores the durable topics of the last process.
    ///
    /// # Errors
    /// If the journal cannot be read or written to.
    pub(super) async fn load_journal(&self) -> Result<(), StoreError> {
        let records = self.shared.durable.journal.load().await?;
        let is_unused = records.is_empty();
        self.shared.durable.keep_keys(&records);
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
        let mut records: Vec<_> = self.shared.durable.keys.lock().stored.iter().cloned().collect();
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
