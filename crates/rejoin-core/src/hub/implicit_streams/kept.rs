//! The implicit streams by key, bounded per user and in total.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    mem,
};

use rejoin_protocol::UserId;

use super::{ImplicitStreamKey, epochs::Epochs};
use crate::{backend::Eviction, hub::topic_stream::IDLE_LIFETIME, stream::Stream};

/// The maximum number of streams of one user. For one more, the user's emptiest unread stream is
/// evicted.
const MAX_OF_USER: usize = 256;
/// The maximum number of users whose streams are searched for one to evict.
const MAX_TRIES: usize = 16;
/// The maximum lead of a user's evictions over the epoch clock, in seconds. All streams of a user
/// may be replaced once per epoch: a burst of 2,816 new streams, then 256 per second.
const MAX_AHEAD: u64 = 10;

/// The implicit streams that received an event.
#[derive(Debug, Default)]
pub(super) struct KeptStreams {
    by_key: HashMap<ImplicitStreamKey, Stream>,
    /// The keys of each user's streams, at most about [`MAX_OF_USER`].
    of_user: HashMap<UserId, Vec<ImplicitStreamKey>>,
    /// The users, sorted by the number of their streams.
    by_count: BTreeSet<(usize, UserId)>,
    /// For each user, the last epoch in which an evicted stream began or received an event.
    /// Retained for an hour.
    evicted: HashMap<UserId, u64>,
    /// The streams that were dropped since the last [`take_dropped`](Self::take_dropped).
    dropped: Vec<DroppedStream>,
}

/// An implicit stream whose messages are gone.
#[derive(Debug)]
pub(super) struct DroppedStream {
    pub(super) key: ImplicitStreamKey,
    /// The epoch of its positions.
    pub(super) epoch: u64,
    /// The last epoch in which it may have received a message.
    pub(super) last: u64,
}

impl KeptStreams {
    pub(super) fn get(&self, key: &ImplicitStreamKey) -> Option<&Stream> {
        self.by_key.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ImplicitStreamKey, &Stream)> {
        self.by_key.iter()
    }

    pub(super) fn insert(&mut self, key: ImplicitStreamKey, stream: Stream) {
        let user = key.user().clone();
        let keys = self.of_user.entry(user.clone()).or_default();
        self.by_count.remove(&(keys.len(), user.clone()));
        keys.push(key.clone());
        self.by_count.insert((keys.len(), user));
        self.by_key.insert(key, stream);
    }

    /// Evicts a stream if there is no room for one more of this user, or for one more than `max`.
    /// Returns `true` if there is room.
    ///
    /// A user with many streams gives way to a user with fewer, never the other way round.
    pub(super) fn make_room(&mut self, user: &UserId, max: usize, epochs: &Epochs) -> bool {
        // Each life of a stream needs its own epoch, and few are available ahead of the clock.
        if self.new_epoch(user, epochs) > epochs.now() + MAX_AHEAD {
            return false;
        }

        let count = self.count(user);
        if count >= MAX_OF_USER && !self.evict(user, epochs) {
            return false;
        }

        if self.by_key.len() < max {
            return true;
        }

        // A user whose streams are all read cannot give way: try the next one, this user last.
        let with_more = self.by_count.iter().rev().take_while(|(others, _)| *others > count);
        let owners: Vec<_> = with_more.map(|(_, owner)| owner.clone()).take(MAX_TRIES).collect();
        owners.iter().chain([user]).any(|owner| self.evict(owner, epochs))
    }

    fn count(&self, user: &UserId) -> usize {
        self.of_user.get(user).map_or(0, Vec::len)
    }

    /// Drops idle streams without frames and readers.
    pub(super) fn sweep(&mut self, epochs: &Epochs) {
        let spent = self.by_key.iter().filter_map(|(key, stream)| {
            let idle = stream.expire().filter(|idle| *idle > IDLE_LIFETIME)?;
            stream.is_unshared().then(|| (key.clone(), idle))
        });

        for (key, idle) in spent.collect::<Vec<_>>() {
            // The epoch of the last use is not before that of the last event.
            let last = epochs.ago(idle);
            epochs.forget(last);
            self.remove(&key, last);
        }

        let old = epochs.ago(IDLE_LIFETIME);
        self.evicted.retain(|_, epoch| {
            if *epoch <= old {
                epochs.forget(*epoch);
            }
            *epoch > old
        });
    }

    /// Returns the last epoch in which this user may have missed an event; 0 for none.
    pub(super) fn evicted(&self, user: &UserId) -> u64 {
        self.evicted.get(user).copied().unwrap_or_default()
    }

    /// Returns the epoch of a new stream of this user.
    ///
    /// It is later than the epochs of all evicted ones, so that no two lives of a stream share one.
    pub(super) fn new_epoch(&self, user: &UserId, epochs: &Epochs) -> u64 {
        epochs.now().max(self.evicted(user) + 1)
    }

    /// Returns the evictions for the next process.
    pub(super) fn evictions(&self) -> Vec<Eviction> {
        let saved = |(user, epoch): (&UserId, &u64)| Eviction { user: user.clone(), epoch: *epoch };
        self.evicted.iter().map(saved).collect()
    }

    pub(super) fn restore_evicted(&mut self, evicted: HashMap<UserId, u64>) {
        self.evicted = evicted;
    }

    /// Returns the streams that were dropped since the last call.
    pub(super) fn take_dropped(&mut self) -> Vec<DroppedStream> {
        mem::take(&mut self.dropped)
    }

    /// Evicts the user's emptiest unread stream; of equally empty ones, the one idle for longest.
    /// Returns `false` if all streams are read.
    fn evict(&mut self, user: &UserId, epochs: &Epochs) -> bool {
        let keys = self.of_user.get(user).into_iter().flatten();
        let idle = keys.filter_map(|key| {
            let stream = self.by_key.get(key)?;
            stream.is_unshared().then(|| (stream.retained(), stream.head().epoch, key.clone()))
        });

        let emptiest = idle.min_by_key(|((frames, idle), ..)| (*frames, Reverse(*idle)));
        let Some(((_, idle), epoch, key)) = emptiest else { return false };

        // The stream may have received events until its last use.
        let last = epochs.ago(idle).max(epoch);
        let evicted = self.evicted.entry(user.clone()).or_default();
        *evicted = last.max(*evicted);
        self.remove(&key, last);
        true
    }

    fn remove(&mut self, key: &ImplicitStreamKey, last: u64) {
        let Some(stream) = self.by_key.remove(key) else { return };

        self.dropped.push(DroppedStream { key: key.clone(), epoch: stream.head().epoch, last });
        let Some(keys) = self.of_user.get_mut(key.user()) else { return };

        self.by_count.remove(&(keys.len(), key.user().clone()));
        keys.retain(|kept| kept != key);
        if keys.is_empty() {
            self.of_user.remove(key.user());
        } else {
            self.by_count.insert((keys.len(), key.user().clone()));
        }
    }
}
