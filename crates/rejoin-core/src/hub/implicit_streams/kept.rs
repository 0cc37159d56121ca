//! The own streams that are kept: by key, bounded for each user and in all.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
};

use rejoin_protocol::UserId;

use crate::{
    hub::implicit_streams::{Epochs, ImplicitStreamKey, LINGER},
    saved::SavedEviction,
    stream::Stream,
};

/// Own streams of one user; for one more, the emptiest unread stream is evicted.
const MAX_OF_USER: usize = 256;
/// Users that are asked to make room for one more stream.
const MAX_TRIES: usize = 16;
/// Epochs that a user's evictions may run ahead of the clock, in seconds. All streams may be
/// replaced once in an epoch: that is 2,816 new streams in a burst, then 256 a second.
const MAX_AHEAD: u64 = 10;

/// What was emitted to users and devices; a stream is there once something was.
#[derive(Debug, Default)]
pub(in crate::hub) struct KeptStreams {
    by_key: HashMap<ImplicitStreamKey, Stream>,
    /// The keys of each user's streams, at most about [`MAX_OF_USER`].
    of_user: HashMap<UserId, Vec<ImplicitStreamKey>>,
    /// The users by the number of their streams.
    by_count: BTreeSet<(usize, UserId)>,
    /// The last epoch of an evicted stream of the user, or in which anything was emitted to one;
    /// for an hour.
    evicted: HashMap<UserId, u64>,
}

impl KeptStreams {
    pub(in crate::hub) fn get(&self, key: &ImplicitStreamKey) -> Option<&Stream> {
        self.by_key.get(key)
    }

    pub(in crate::hub) fn iter(&self) -> impl Iterator<Item = (&ImplicitStreamKey, &Stream)> {
        self.by_key.iter()
    }

    pub(in crate::hub) fn insert(&mut self, key: ImplicitStreamKey, stream: Stream) {
        let user = key.user().clone();
        let keys = self.of_user.entry(user.clone()).or_default();
        self.by_count.remove(&(keys.len(), user.clone()));
        keys.push(key.clone());
        self.by_count.insert((keys.len(), user));
        self.by_key.insert(key, stream);
    }

    /// Makes room for one more stream of this user, among so many in all; returns whether there
    /// is room.
    ///
    /// A user with many streams makes room for one with fewer, never the other way round.
    pub(super) fn make_room(&mut self, user: &UserId, max: usize, epochs: &Epochs) -> bool {
        if self.moment(user, epochs) > epochs.now() + MAX_AHEAD {
            return false;
        }
        let count = self.count(user);
        if count >= MAX_OF_USER && !self.evict(user, epochs) {
            return false;
        }
        if self.by_key.len() < max {
            return true;
        }
        // All streams of a user may be read: then the next one gives way, at last this user.
        let with_more = self.by_count.iter().rev().take_while(|(others, _)| *others > count);
        let owners: Vec<_> = with_more.map(|(_, owner)| owner.clone()).take(MAX_TRIES).collect();
        owners.iter().chain([user]).any(|owner| self.evict(owner, epochs))
    }

    fn count(&self, user: &UserId) -> usize {
        self.of_user.get(user).map_or(0, Vec::len)
    }

    /// Lets go of streams that nothing is left of.
    pub(super) fn sweep(&mut self, epochs: &Epochs) {
        let spent = self.by_key.iter().filter_map(|(key, stream)| {
            let quiet = stream.expire().filter(|quiet| *quiet > LINGER)?;
            stream.is_unshared().then(|| (key.clone(), quiet))
        });
        for (key, quiet) in spent.collect::<Vec<_>>() {
            // Not later than when it was last used, so not earlier than the last emit.
            epochs.forget(epochs.ago(quiet));
            self.remove(&key);
        }
        let old = epochs.ago(LINGER);
        self.evicted.retain(|_, epoch| {
            if *epoch <= old {
                epochs.forget(*epoch);
            }
            *epoch > old
        });
    }

    /// The last epoch of this user in which anything may be missing; 0 if nothing is.
    pub(super) fn evicted(&self, user: &UserId) -> u64 {
        self.evicted.get(user).copied().unwrap_or_default()
    }

    /// The epoch of a stream of this user that begins now: later than that of each evicted one,
    /// so that no two lives of a stream have the same.
    pub(super) fn moment(&self, user: &UserId, epochs: &Epochs) -> u64 {
        epochs.now().max(self.evicted(user) + 1)
    }

    pub(in crate::hub) fn save_evicted(&self) -> Vec<SavedEviction> {
        let saved =
            |(user, epoch): (&UserId, &u64)| SavedEviction { user: user.clone(), epoch: *epoch };
        self.evicted.iter().map(saved).collect()
    }

    pub(in crate::hub) fn restore_evicted(&mut self, saved: Vec<SavedEviction>) {
        self.evicted = saved.into_iter().map(|saved| (saved.user, saved.epoch)).collect();
    }

    /// Evicts the user's emptiest unread stream; of equally empty ones, the quietest.
    fn evict(&mut self, user: &UserId, epochs: &Epochs) -> bool {
        let keys = self.of_user.get(user).into_iter().flatten();
        let idle = keys.filter_map(|key| {
            let stream = self.by_key.get(key)?;
            stream.is_unshared().then(|| (stream.retained(), stream.head().epoch, key.clone()))
        });
        let emptiest = idle.min_by_key(|((frames, quiet), ..)| (*frames, Reverse(*quiet)));
        let Some(((_, quiet), epoch, key)) = emptiest else { return false };
        let last = self.evicted.entry(user.clone()).or_default();
        *last = epochs.ago(quiet).max(epoch).max(*last);
        self.remove(&key);
        true
    }

    fn remove(&mut self, key: &ImplicitStreamKey) {
        self.by_key.remove(key);
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
