//! A bound for the bytes that several streams retain together.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

use crate::{
    lock::{Mutex, level::LEAF},
    stream::Shared,
};

/// The part of the limit that is freed in addition (one sixteenth), so that not every publish
/// has to search for frames to drop.
const FREED_PART: u64 = 16;

/// A bound for the bytes that several streams retain together.
///
/// The stream that receives a message drops its own frames first, except for the newest. If that
/// is not enough, the streams idle for longest drop all their frames.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    /// The exact size of the frames in all rings: changed with every push and drop.
    retained: AtomicU64,
    /// The streams that share the budget. A leaf lock: no lock is taken below it.
    streams: Mutex<Vec<Weak<Shared>>, LEAF>,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, retained: AtomicU64::new(0), streams: Mutex::default() })
    }

    pub(super) fn add(&self, bytes: usize) {
        self.retained.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn release(&self, bytes: usize) {
        self.retained.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.retained() > self.limit
    }

    pub(super) fn retained(&self) -> u64 {
        self.retained.load(Ordering::Relaxed)
    }

    /// Adds a stream to those that share the budget.
    pub(super) fn share(&self, stream: &Arc<Shared>) {
        let mut streams = self.streams.lock();
        if streams.len() == streams.capacity() {
            // Only when the list would grow: each stream is checked a constant number of times.
            streams.retain(|stream| stream.strong_count() > 0);
        }
        streams.push(Arc::downgrade(stream));
    }

    /// Clears the streams idle for longest, except `published`, until the budget has room.
    ///
    /// The caller must hold no stream's lock.
    pub(super) fn make_room(&self, published: &Arc<Shared>) {
        let streams: Vec<_> = self.streams.lock().iter().filter_map(Weak::upgrade).collect();
        let now = Instant::now();
        let idle = |stream: &Arc<Shared>| stream.state.lock().ring.idle_for(now);
        let others = streams.iter().filter(|stream| !Arc::ptr_eq(stream, published));
        // Measured once: the times change while the locks are free.
        let mut others: Vec<_> = others.map(|stream| (idle(stream), stream)).collect();
        others.sort_by_key(|(idle, _)| std::cmp::Reverse(*idle));

        for (_, stream) in others {
            if self.retained() <= self.limit - self.limit / FREED_PART {
                return;
            }
            stream.state.lock().ring.clear();
        }
    }
}
