//! The followers of a stream: the shards that read it for their connections.

use std::{fmt, sync::Arc};

use rejoin_protocol::StreamNumber;
use tokio::time::Instant;

use crate::{
    stream::{Batch, Progress, ReadLimit, Seq, Stream},
    wake::Wake,
};

/// The followers of a stream: at most one per shard.
#[derive(Default)]
pub(super) struct Followers {
    entries: Vec<Entry>,
    next_id: u64,
}

struct Entry {
    id: u64,
    wake: Arc<dyn Wake>,
    /// The follower was notified and has not taken all frames since: no second notification.
    is_notified: bool,
    /// The follower has taken all frames before this one.
    taken: Seq,
}

impl Followers {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the first frame that the slowest follower has not taken; `None` without followers.
    pub(super) fn slowest(&self) -> Option<Seq> {
        self.entries.iter().map(|entry| entry.taken).min()
    }

    pub(super) fn notify(&mut self, stream: StreamNumber) {
        for entry in self.entries.iter_mut().filter(|entry| !entry.is_notified) {
            entry.is_notified = true;
            entry.wake.stream_advanced(stream);
        }
    }
}

/// A shard's registration with a stream; dropping it ends the registration.
pub struct Follower {
    stream: Stream,
    id: u64,
}

impl Stream {
    /// Registers a follower that has taken all frames before `from`.
    ///
    /// `wake` is notified once when there are frames to take, and again only after the follower
    /// has taken all of them.
    #[must_use]
    pub fn follow(&self, wake: Arc<dyn Wake>, from: Seq) -> Follower {
        let mut state = self.shared.state.lock();
        let head = state.ring.head();
        let followers = &mut state.followers;
        let id = followers.next_id;
        followers.next_id += 1;

        // Otherwise these frames would wait for the next append.
        let is_notified = from < head;
        if is_notified {
            wake.stream_advanced(self.number());
        }

        followers.entries.push(Entry { id, wake, is_notified, taken: from });
        Follower { stream: self.clone(), id }
    }
}

impl Follower {
    /// Returns the followed stream.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Takes the frames from `from` on. Producers may append as many again.
    pub fn take(&self, from: Seq, limit: ReadLimit, batch: &mut Batch) -> Progress {
        let shared = &self.stream.shared;
        let mut state = shared.state.lock();
        let progress = self.stream.progress(&state, from, limit, batch);

        let entry = state.followers.entries.iter_mut().find(|entry| entry.id == self.id);
        let entry = entry.expect("a follower is registered until it is dropped");
        entry.taken = batch.end();

        // A follower that took something calls again without a notification.
        entry.is_notified = matches!(progress, Progress::Frames | Progress::Behind { .. });

        if state.waiting_producers > 0 && state.has_room() {
            shared.room.notify_waiters();
        }

        progress
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.stream.shared.state.lock();
        state.followers.entries.retain(|entry| entry.id != self.id);
        state.ring.touch(Instant::now());
        // This follower may have been the slowest, for which producers wait.
        self.stream.shared.room.notify_waiters();
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("stream", &self.stream).finish_non_exhaustive()
    }
}
