//! Followers: the shards that read a stream for their connections.

use std::{fmt, sync::Arc};

use rejoin_protocol::StreamNumber;
use tokio::time::Instant;

use crate::{
    outbox::Wake,
    stream::{Batch, Progress, ReadLimit, Seq, Stream},
};

/// Who follows a stream. A handful: one for each shard with a reader.
#[derive(Default)]
pub(super) struct Followers {
    entries: Vec<Entry>,
    next_id: u64,
}

struct Entry {
    id: u64,
    wake: Arc<dyn Wake>,
    /// Told of an advance that it has not taken: not told again.
    told: bool,
    /// It has taken all frames before this one.
    taken: Seq,
}

impl Followers {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How far the slowest has taken; `None` if nobody follows.
    pub(super) fn slowest(&self) -> Option<Seq> {
        self.entries.iter().map(|entry| entry.taken).min()
    }

    pub(super) fn tell(&mut self, stream: StreamNumber) {
        for entry in self.entries.iter_mut().filter(|entry| !entry.told) {
            entry.told = true;
            entry.wake.stream_advanced(stream);
        }
    }
}

/// A shard's hold on a stream; dropping it ends the following.
pub struct Follower {
    stream: Stream,
    id: u64,
}

impl Stream {
    /// Follows from frame `from` on: `wake` is told when there is more than was taken.
    #[must_use]
    pub fn follow(&self, wake: Arc<dyn Wake>, from: Seq) -> Follower {
        let mut state = self.shared.state.lock();
        let head = state.ring.head();
        let followers = &mut state.followers;
        let id = followers.next_id;
        followers.next_id += 1;
        let told = from < head;
        if told {
            wake.stream_advanced(self.number());
        }
        followers.entries.push(Entry { id, wake, told, taken: from });
        Follower { stream: self.clone(), id }
    }
}

impl Follower {
    /// The stream that is followed.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Takes the frames from `from` on; producers may fill their place while they are passed on.
    pub fn take(&self, from: Seq, limit: ReadLimit, batch: &mut Batch) -> Progress {
        let shared = &self.stream.shared;
        let mut state = shared.state.lock();
        let progress = self.stream.progress(&state, from, limit, batch);
        let entry = state.followers.entries.iter_mut().find(|entry| entry.id == self.id);
        let entry = entry.expect("a follower is listed until it is dropped");
        entry.taken = batch.end();
        // Whoever took something comes again by itself.
        entry.told = matches!(progress, Progress::Frames | Progress::Behind { .. });
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
        state.ring.unfollow(Instant::now());
        // It may have been the slowest.
        self.stream.shared.room.notify_waiters();
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("stream", &self.stream).finish_non_exhaustive()
    }
}
