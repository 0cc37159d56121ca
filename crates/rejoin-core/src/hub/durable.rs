//! Durable streams, whose messages are in the journal before they are acknowledged and delivered.

mod journal;
mod keys;

use std::{collections::HashMap, mem, sync::Arc};

use rejoin_protocol::{ErrorCode, Position, UserId, message::ErrorBody};
use tokio::sync::{Notify, watch};
use tracing::{error, info};

use crate::{
    backend::{Journal, JournalMessage, JournalRecord, StoreError, StoredKey, StreamOwner},
    hub::{
        Hub,
        durable::keys::{Earlier, KeyId, Keys, Outcome},
        topic_stream::JournalStream,
    },
    lock::{Mutex, level::LEAF},
    metrics::Metrics,
    stream::{Reservation, Stream},
    time::now_ms,
};

/// The total size of queued messages, in bytes, above which publishes are refused.
const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;
/// The size of one user's queued messages, in bytes, above which publishes are refused. So no user
/// can take the room of the others.
const MAX_QUEUED_BYTES_OF_USER: usize = 8 * 1024 * 1024;

/// The result of [`Hub::try_publish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishProgress {
    /// The message is published.
    Done(Position),
    /// The message is on its way to disk. The confirmation will be called.
    Queued,
    /// Nothing was published, because the call would have to wait. Use [`Hub::publish`] instead.
    Full,
}

/// A callback that receives the position of a durable message, or the reason for its refusal.
pub type Confirm = Box<dyn FnOnce(Result<Position, ErrorBody>) + Send>;

/// The queue of messages that are not in the journal yet. A single task commits them in groups.
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
    /// The bytes of each user who is accountable for messages.
    bytes_of_user: HashMap<UserId, usize>,
    /// The records of dropped streams. They precede the messages: a later message begins a new
    /// stream.
    dropped: Vec<JournalRecord>,
}

/// A message that has a position but is not durable yet.
struct QueuedMessage {
    stream: Stream,
    reservation: Reservation,
    message: JournalMessage,
    confirm: Confirm,
}

impl DurableQueue {
    pub(super) fn new(journal: Arc<dyn Journal>) -> Self {
        let (queued, keys) = (Mutex::default(), Mutex::default());
        Self { journal, queued, keys, ready: Notify::new() }
    }

    /// Loads the records of the journal, and remembers their keys.
    pub(super) async fn load(&self) -> Result<Vec<JournalRecord>, StoreError> {
        let records = self.journal.load().await?;
        self.keys.lock().add_stored(&records);
        Ok(records)
    }

    /// Returns the keys that a retry may use, oldest first.
    pub(super) fn stored_keys(&self) -> Vec<StoredKey> {
        self.keys.lock().stored().cloned().collect()
    }

    /// Checks that there is room for a message.
    ///
    /// # Errors
    /// `overloaded`, if the disk cannot keep up with the publishers.
    fn check(&self, owner: &StreamOwner) -> Result<(), ErrorBody> {
        let queued = self.queued.lock();
        let of_user = owner.user().and_then(|user| queued.bytes_of_user.get(user));
        if queued.bytes < MAX_QUEUED_BYTES
            && of_user.is_none_or(|bytes| *bytes < MAX_QUEUED_BYTES_OF_USER)
        {
            return Ok(());
        }
        let sentence = "too many messages wait for the disk; try again later";
        Err(ErrorBody::new(ErrorCode::Overloaded, sentence))
    }

    /// Queues a message. Must be called under the lock of its stream, which determines the order.
    fn push(&self, message: QueuedMessage) {
        let mut queued = self.queued.lock();
        let bytes = message.message.bytes();
        queued.bytes += bytes;
        if let Some(user) = message.message.stream.user() {
            *queued.bytes_of_user.entry(user.clone()).or_default() += bytes;
        }
        queued.messages.push(message);
        drop(queued);
        self.ready.notify_one();
    }

    /// Queues the records of dropped streams. If they are not written, the streams come back after a
    /// crash, with all their messages.
    pub(super) fn push_dropped(&self, mut records: Vec<JournalRecord>) {
        if !records.is_empty() {
            self.queued.lock().dropped.append(&mut records);
            self.ready.notify_one();
        }
    }

    /// Commits everything that is queued, and calls the confirmations. Returns the size of the
    /// journal in bytes, or `None` if nothing was queued or the commit failed.
    async fn commit(&self, metrics: &Metrics, failure: &mut Failure) -> Option<u64> {
        let Queued { messages, dropped, .. } = mem::take(&mut *self.queued.lock());
        // Queued before an earlier failure was noticed: their positions are not theirs any more.
        let (messages, discarded): (Vec<_>, Vec<_>) =
            messages.into_iter().partition(|it| it.stream.is_reserved(&it.reservation));
        discarded.into_iter().for_each(|message| (message.confirm)(Err(not_stored())));
        let (messages, pending): (Vec<_>, Vec<_>) =
            messages.into_iter().map(QueuedMessage::split).unzip();
        let records = [dropped, messages].into_iter().flatten().collect::<Vec<_>>();
        if records.is_empty() {
            return None;
        }

        let committed = self.journal.append(&records).await;
        failure.report(committed.as_ref().err());

        if committed.is_err() {
            // Discards all reservations before any confirmation, so that no later message takes
            // over the position of a message that is still expected.
            pending.iter().for_each(|(stream, ..)| stream.discard_reserved());
            pending.into_iter().for_each(|(.., confirm)| confirm(Err(not_stored())));
            return None;
        }

        records.iter().for_each(|record| count(metrics, record));
        self.keys.lock().add_stored(&records);
        for (stream, position, confirm) in pending {
            stream.append_reserved();
            confirm(Ok(position));
        }
        committed.ok()
    }
}

impl QueuedMessage {
    fn split(self) -> (JournalRecord, (Stream, Position, Confirm)) {
        let Self { stream, reservation, message, confirm } = self;
        (JournalRecord::Message(message), (stream, reservation.position, confirm))
    }
}

/// Logs the start and the end of each journal failure once.
#[derive(Default)]
struct Failure {
    last: Option<String>,
}

impl Failure {
    fn report(&mut self, error: Option<&StoreError>) {
        match error.map(ToString::to_string) {
            Some(error) if self.last.as_ref() != Some(&error) => {
                error!(error, "cannot store messages of durable streams; refusing them");
                self.last = Some(error);
            }
            Some(_) => {}
            None if self.last.take().is_some() => {
                info!("storing messages of durable streams again");
            }
            None => {}
        }
    }
}

/// Counts a message that has become durable.
fn count(metrics: &Metrics, record: &JournalRecord) {
    match record {
        JournalRecord::Message(JournalMessage { stream: StreamOwner::Topic { .. }, .. }) => {
            metrics.published.inc();
        }
        JournalRecord::Message(_) => {
            metrics.emitted.inc();
        }
        _ => {}
    }
}

fn not_stored() -> ErrorBody {
    let sentence = "the message could not be stored, and was not published; try again later";
    ErrorBody::new(ErrorCode::Overloaded, sentence)
}

/// A key whose message is not durable yet. Dropping it forgets the key.
struct PendingKey {
    hub: Hub,
    id: Option<KeyId>,
}

impl Drop for PendingKey {
    fn drop(&mut self) {
        if let Some(id) = &self.id {
            self.hub.shared.durable.keys.lock().remove_pending(id);
        }
    }
}

async fn wait(mut outcome: Outcome) -> Result<Position, ErrorBody> {
    let result = outcome.wait_for(Option::is_some).await;
    result.ok().and_then(|result| result.clone()).unwrap_or_else(|| Err(not_stored()))
}

impl Hub {
    /// Appends a message to a durable stream, and waits until it is durable.
    ///
    /// A call with a key that is already in use returns the result of the earlier call.
    ///
    /// # Errors
    /// `overloaded` if the message cannot be stored, or the error of `text`.
    pub(super) async fn store<E: Into<ErrorBody>>(
        &self,
        target: JournalStream,
        id: Option<KeyId>,
        text: impl Fn(Position) -> Result<String, E>,
    ) -> Result<Position, ErrorBody> {
        match id.as_ref().and_then(|id| self.shared.durable.keys.lock().earlier(id)) {
            Some(Earlier::Stored(position)) => return Ok(position),
            Some(Earlier::Pending(result)) => return wait(result).await,
            None => self.shared.durable.check(&target.owner)?,
        }

        let (result_tx, result) = watch::channel(None);
        if let Some(id) = id.clone() {
            self.shared.durable.keys.lock().add_pending(id, result.clone());
        }
        let pending = PendingKey { hub: self.clone(), id: id.clone() };
        let confirm: Confirm = Box::new(move |result| {
            drop(pending);
            result_tx.send_replace(Some(result));
        });

        let mut queued = Some((id, confirm));
        let queue = |reservation| {
            if let Some((id, confirm)) = queued.take() {
                self.queue(&target, id, (reservation, confirm));
            }
        };
        target.stream.reserve(text, queue).await.map_err(Into::into)?;
        wait(result).await
    }

    /// Appends a message to a durable stream if there is room, and calls the confirmation later.
    ///
    /// # Errors
    /// Same as [`store`](Self::store).
    pub(super) fn try_store(
        &self,
        target: &JournalStream,
        text: impl Fn(Position) -> Result<String, ErrorBody>,
        confirm: impl FnOnce() -> Confirm,
    ) -> Result<PublishProgress, ErrorBody> {
        self.shared.durable.check(&target.owner)?;
        let mut confirm = Some(confirm);
        let mut queue = |reservation| {
            if let Some(confirm) = confirm.take() {
                self.queue(target, None, (reservation, confirm()));
            }
        };
        match target.stream.try_reserve(&text, &mut queue) {
            Ok(reserved) => reserved.map(|()| PublishProgress::Queued),
            Err(_) => Ok(PublishProgress::Full),
        }
    }

    fn queue(
        &self,
        target: &JournalStream,
        id: Option<KeyId>,
        (reservation, confirm): (Reservation, Confirm),
    ) {
        let message = JournalMessage {
            stream: target.owner.clone(),
            position: reservation.position,
            at: now_ms(),
            text: String::from_utf8_lossy(&reservation.payload).into_owned(),
            key: id.map(|(user, _, key)| (user, key)),
        };
        let stream = target.stream.clone();
        self.shared.durable.push(QueuedMessage { stream, reservation, message, confirm });
    }
}
