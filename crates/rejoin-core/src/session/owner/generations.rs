//! The snapshots of a session that are in memory: few, whatever the number of viewers.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::{
    stream::{Snapshot, Stream},
    wire::Frame,
};

/// Snapshots of one session in memory. When another one is made, the viewers that do not take the
/// oldest are closed.
const MAX_GENERATIONS: usize = 4;
/// Time for which a snapshot without holders serves further viewers.
const LIFE: Duration = Duration::from_millis(500);
/// How far behind the output a snapshot serves others, in bytes.
const MAX_LAG_BYTES: u64 = 256 * 1024;

/// Snapshots that viewers hold, and the newest, which serves those who come.
#[derive(Debug, Default)]
pub(super) struct Generations {
    newest: Option<Snapshot>,
    /// Oldest first.
    older: VecDeque<Snapshot>,
    stale_at: Option<Instant>,
}

impl Generations {
    /// The newest snapshot, if the stream has all that comes after it and that is not much.
    pub(super) fn fresh(&self, offset: u64, stream: &Stream) -> Option<&Snapshot> {
        self.newest.as_ref().filter(|snapshot| {
            offset - snapshot.position.offset <= MAX_LAG_BYTES && stream.oldest() <= snapshot.seq
        })
    }

    /// Adds a snapshot. Closes viewers that hold the oldest and take nothing, if there are too many.
    pub(super) fn add(&mut self, snapshot: Snapshot) {
        self.end_newest();
        self.older.retain(is_held);
        while self.older.len() >= MAX_GENERATIONS {
            if let Some(oldest) = self.older.pop_front() {
                oldest.holders.evict_if_stalled();
            }
        }
        self.newest = Some(snapshot);
        self.stale_at = Some(Instant::now() + LIFE);
    }

    /// Ends the use of the newest snapshot for further viewers: the screen has changed.
    pub(super) fn end_newest(&mut self) {
        self.older.extend(self.newest.take());
    }

    /// When to look whether the snapshots are still held.
    pub(super) fn stale_at(&self) -> Option<Instant> {
        self.stale_at
    }

    /// Forgets snapshots that no viewer holds. To keep the others costs nothing more.
    pub(super) fn forget_unused(&mut self) {
        self.older.retain(is_held);
        self.newest = self.newest.take().filter(is_held);
        let is_empty = self.newest.is_none() && self.older.is_empty();
        self.stale_at = (!is_empty).then(|| Instant::now() + LIFE);
    }
}

fn is_held(snapshot: &Snapshot) -> bool {
    snapshot.messages.iter().any(Frame::is_shared)
}
