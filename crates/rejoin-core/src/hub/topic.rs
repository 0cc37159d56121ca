//! A topic, and a connection's subscription to it.

use std::{fmt, sync::Arc};

use rejoin_protocol::{Subject, TopicName, UserId};

use crate::{
    backend::StreamOwner,
    hub::topic_stream::{IDLE_LIFETIME, JournalStream},
    presence::{PresenceContext, PresenceGroup, PresenceGuard},
    stream::Stream,
};

/// A handle to a topic.
#[derive(Clone)]
pub struct Topic {
    shared: Arc<Shared>,
}

struct Shared {
    name: TopicName,
    stream: Stream,
    presence: Arc<PresenceGroup>,
    creator: UserId,
    durability: Durability,
}

/// The place where a stream's messages are before they are acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// In memory: a crash of the server loses them.
    #[default]
    Memory,
    /// In the journal.
    Journal,
}

/// A connection's subscription; dropping it ends the connection's presence in the topic.
#[derive(Debug)]
pub struct Subscription {
    pub(super) stream: Stream,
    /// `None` for an implicit stream, which has no presence.
    pub(super) _presence: Option<PresenceGuard>,
}

impl Topic {
    pub(super) fn new(
        name: TopicName,
        stream: Stream,
        creator: UserId,
        durability: Durability,
        context: &Arc<PresenceContext>,
    ) -> Self {
        let presence = PresenceGroup::new(Subject::Topic(name.clone()), Arc::clone(context));
        Self { shared: Arc::new(Shared { name, stream, presence, creator, durability }) }
    }

    /// Returns the place where messages are before they are acknowledged.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.shared.durability
    }

    /// Returns the user whose first use created the topic.
    pub(super) fn creator(&self) -> &UserId {
        &self.shared.creator
    }

    /// Returns the stream of messages, as the journal names it.
    pub(super) fn journal_stream(&self) -> JournalStream {
        let Shared { name, stream, creator, .. } = &*self.shared;
        let owner = StreamOwner::Topic { name: name.clone(), creator: creator.clone() };
        JournalStream { owner, stream: stream.clone() }
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &TopicName {
        &self.shared.name
    }

    /// Returns the stream of messages.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.shared.stream
    }

    /// Returns the number of subscribed connections.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.shared.presence.connections()
    }

    /// Returns the group of the subscribers.
    pub(super) fn presence(&self) -> &Arc<PresenceGroup> {
        &self.shared.presence
    }

    /// Drops what has expired. Returns `true` if nothing is left for longer than the idle lifetime.
    pub(super) fn is_spent(&self) -> bool {
        self.shared.presence.sweep();
        self.shared.stream.expire().is_some_and(|idle| idle > IDLE_LIFETIME)
    }

    /// Returns `true` if the topic can be dropped: it is spent, and no other handle to it, to its
    /// stream or to its group exists.
    ///
    /// The caller holds the lock that is needed to get another handle.
    pub(super) fn is_unused(&self) -> bool {
        let Shared { stream, presence, .. } = &*self.shared;
        // The map of topics has one handle to this topic, and this topic one to its group.
        let is_held = Arc::strong_count(&self.shared) > 1 || Arc::strong_count(presence) > 1;
        !is_held && stream.is_unshared() && presence.is_unused() && self.is_spent()
    }
}

impl Subscription {
    /// Returns the stream to read.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
