//! The snapshots of a session in memory: few, regardless of the number of viewers.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::{
    frame::Frame,
    stream::{Snapshot, Stream},
};

/// The number of snapshots of one session in memory. Above it the connections that have
/// not sent all of the oldest snapshot are closed.
const MAX_GENERATIONS: usize = 4;
/// The time for which a snapshot without holders serves more viewers.
const LIFETIME: Duration = Duration::from_millis(500);
/// The output after a snapshot above which it serves no more viewers, in bytes.
const MAX_LAG_BYTES: u64 = 256 * 1024;

/// The snapshots that viewers hold. The newest serves new viewers.
#[derive(Debug, Default)]
pub(super) struct Generations {
    newest: Option<Snapshot>,
    /// Oldest first.
    older: VecDeque<Snapshot>,
    check_at: Option<Instant>,
}

impl Generations {
    /// Returns the newest snapshot if the stream retains all frames after it, and they are few.
    pub(super) fn fresh(&self, offset: u64, stream: &Stream) -> Option<&Snapshot> {
        self.newest.as_ref().filter(|snapshot| {
            offset - snapshot.position.offset <= MAX_LAG_BYTES && stream.oldest() <= snapshot.seq
        })
    }

    /// Adds a snapshot. Above the bound, closes the holders of the oldest one.
    pub(super) fn add(&mut self, snapshot: Snapshot) {
        self.retire_newest();
        self.older.retain(is_held);

        // The memory of the oldest is freed once its holders are closed.
        while self.older.len() >= MAX_GENERATIONS {
            if let Some(oldest) = self.older.pop_front() {
                oldest.holders.evict(&oldest.messages);
            }
        }

        self.newest = Some(snapshot);
        self.check_at = Some(Instant::now() + LIFETIME);
    }

    /// Stops serving the newest snapshot to new viewers: the screen has changed.
    pub(super) fn retire_newest(&mut self) {
        self.older.extend(self.newest.take());
    }

    /// Returns the time of the next call of [`drop_unused`](Self::drop_unused).
    pub(super) fn check_at(&self) -> Option<Instant> {
        self.check_at
    }

    /// Drops snapshots without holders. The others stay in memory anyway.
    pub(super) fn drop_unused(&mut self) {
        self.older.retain(is_held);
        self.newest = self.newest.take().filter(is_held);

        let is_empty = self.newest.is_none() && self.older.is_empty();
        self.check_at = (!is_empty).then(|| Instant::now() + LIFETIME);
    }
}

fn is_held(snapshot: &Snapshot) -> bool {
    snapshot.messages.iter().any(Frame::is_shared)
}
