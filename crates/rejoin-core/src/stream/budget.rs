//! Bytes that several streams may retain together.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::stream::Shared;

/// The part of a budget that is freed beyond its limit, so that not each publish looks for
/// something to drop: a sixteenth.
const FREED: u64 = 16;

/// Bytes that several streams may retain together.
///
/// The stream that is published to gives way first, except for its newest frame. Where that is
/// not enough, the quietest of the others lose all that they hold.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    /// Exactly what the rings hold: changed with each frame that comes or goes.
    held: AtomicU64,
    /// The streams that share it. Held for a push or a copy; no lock is taken below it.
    streams: Mutex<Vec<Weak<Shared>>>,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicU64::new(0), streams: Mutex::default() })
    }

    pub(super) fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.held() > self.limit
    }

    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Adds a stream whose ring counts.
    pub(super) fn share(&self, stream: &Arc<Shared>) {
        let mut streams = self.streams.lock();
        if streams.len() == streams.capacity() {
            streams.retain(|stream| stream.strong_count() > 0);
        }
        streams.push(Arc::downgrade(stream));
    }

    /// Drops what the quietest streams hold, all but this one, until there is room again. Called
    /// with no stream's lock held.
    pub(super) fn relieve(&self, but: &Arc<Shared>) {
        let streams: Vec<_> = self.streams.lock().iter().filter_map(Weak::upgrade).collect();
        let now = Instant::now();
        let others = streams.iter().filter(|stream| !Arc::ptr_eq(stream, but));
        let quiet = |stream: &Arc<Shared>| stream.state.lock().ring.quiet_for(now);
        let mut others: Vec<_> = others.map(|stream| (quiet(stream), stream)).collect();
        others.sort_by_key(|(quiet, _)| std::cmp::Reverse(*quiet));
        for (_, stream) in others {
            if self.held() <= self.limit - self.limit / FREED {
                return;
            }
            stream.state.lock().ring.clear();
        }
    }
}
