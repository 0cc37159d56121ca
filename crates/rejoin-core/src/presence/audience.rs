//! The audience of a group: the streams and the observer that receive its changes.

use std::{collections::HashMap, fmt, sync::Arc};

use rejoin_protocol::{Subject, UserId};

use crate::{
    presence::members::{Change, ChangeKind},
    stream::Stream,
};

/// Receives the users that come online and go offline.
pub(crate) trait UserObserver: fmt::Debug + Send + Sync {
    /// Records a change in the order of changes. Called with the group's lock held.
    fn record_user(&self, user: &UserId, kind: ChangeKind);

    /// Delivers the recorded changes. Called with no lock held.
    fn deliver(&self);
}

/// The receivers of a group's changes.
pub(super) enum Audience {
    /// Subscribers of the whole group. The stream exists once there is one.
    Group { subject: Subject, stream: Option<Stream> },
    /// Subscribers of one user each, and an observer of all users.
    Users { streams: HashMap<UserId, Stream>, observer: Arc<dyn UserObserver> },
}

impl Audience {
    /// Records that a user came online or went offline.
    ///
    /// Returns the observer, for the delivery after the lock is released.
    pub(super) fn record(&self, change: &Change) -> Option<Arc<dyn UserObserver>> {
        let Self::Users { observer, .. } = self else { return None };
        if !change.whole_user {
            return None;
        }

        observer.record_user(&change.member.user, change.kind);
        Some(Arc::clone(observer))
    }

    /// Returns the stream that receives the changes of this user's devices, if there is one.
    pub(super) fn stream_of(&self, user: &UserId) -> Option<(Subject, Stream)> {
        match self {
            Self::Group { subject, stream } => Some((subject.clone(), stream.clone()?)),
            Self::Users { streams, .. } => {
                Some((Subject::User(user.clone()), streams.get(user)?.clone()))
            }
        }
    }

    /// Returns the stream of a subject. Creates it with `create` if there is none.
    pub(super) fn subscribe(
        &mut self,
        subject: &Subject,
        create: impl FnOnce() -> Stream,
    ) -> Stream {
        match (self, subject) {
            (Self::Users { streams, .. }, Subject::User(user)) => {
                streams.entry(user.clone()).or_insert_with(create).clone()
            }
            (Self::Group { stream, .. }, _) => stream.get_or_insert_with(create).clone(),
            // The hub asks such a group for users only.
            (Self::Users { .. }, _) => create(),
        }
    }

    /// Drops the streams without subscribers.
    pub(super) fn sweep(&mut self) {
        let is_idle = |stream: &Stream| stream.expire().is_some() && stream.is_unshared();
        match self {
            Self::Group { stream, .. } => {
                stream.take_if(|stream| is_idle(stream));
            }
            Self::Users { streams, .. } => streams.retain(|_, stream| !is_idle(stream)),
        }
    }

    pub(super) fn has_streams(&self) -> bool {
        match self {
            Self::Group { stream, .. } => stream.is_some(),
            Self::Users { streams, .. } => !streams.is_empty(),
        }
    }

    /// Returns `true` if the subscribers receive the changes of one user each.
    pub(super) fn is_by_user(&self) -> bool {
        matches!(self, Self::Users { .. })
    }
}
