//! What the shards have done, in numbers.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What the shards of a gateway have done since it was made; all numbers only grow.
#[derive(Debug, Default)]
pub struct Counts {
    frames_sent: AtomicU64,
    bytes_sent: AtomicU64,
    snapshots_sent: AtomicU64,
    pings_sent: AtomicU64,
    heartbeats_missed: AtomicU64,
    broadcasts: AtomicU64,
    broadcast_micros: AtomicU64,
    sockets_cut: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
}

/// Why a frame, or a reply, did not reach a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It had left the stream before the reader came to it.
    Retention,
    /// The reader was given the state instead.
    Snapshot,
    /// The reader was slow, and only the newest counts in this topic.
    Latest,
    /// The reader was let go because it was slow.
    Slow,
    /// The reader left before it came to it.
    Closed,
    /// It was a reply, and the connection ended or had too many of them.
    Outbox,
}

impl Dropped {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Retention, Self::Snapshot, Self::Latest, Self::Slow, Self::Closed, Self::Outbox];

    /// Its name where numbers are shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Snapshot => "snapshot",
            Self::Latest => "latest",
            Self::Slow => "slow",
            Self::Closed => "closed",
            Self::Outbox => "outbox",
        }
    }
}

/// Frames and bytes that sockets took, gathered by a shard and counted once a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) frames: u64,
    pub(super) bytes: u64,
}

impl Counts {
    /// Frames of streams that sockets took; a frame counts for each socket.
    #[must_use]
    pub fn frames_sent(&self) -> u64 {
        self.frames_sent.load(Ordering::Relaxed)
    }

    /// Bytes that sockets took.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::Relaxed)
    }

    /// Snapshots that were sent to those who came or fell behind.
    #[must_use]
    pub fn snapshots_sent(&self) -> u64 {
        self.snapshots_sent.load(Ordering::Relaxed)
    }

    /// Pings that were sent.
    #[must_use]
    pub fn pings_sent(&self) -> u64 {
        self.pings_sent.load(Ordering::Relaxed)
    }

    /// Connections that were let go because nothing was heard of them.
    #[must_use]
    pub fn heartbeats_missed(&self) -> u64 {
        self.heartbeats_missed.load(Ordering::Relaxed)
    }

    /// Broadcasts, and the time that they took in all.
    #[must_use]
    pub fn broadcasts(&self) -> (u64, Duration) {
        let micros = self.broadcast_micros.load(Ordering::Relaxed);
        (self.broadcasts.load(Ordering::Relaxed), Duration::from_micros(micros))
    }

    /// Sockets that were cut at the shutdown before they had taken all that was for them.
    #[must_use]
    pub fn sockets_cut(&self) -> u64 {
        self.sockets_cut.load(Ordering::Relaxed)
    }

    /// Frames, or replies, that did not reach a connection.
    #[must_use]
    pub fn dropped(&self, why: Dropped) -> u64 {
        self.dropped[why as usize].load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self, sent: Sent) {
        self.frames_sent.fetch_add(sent.frames, Ordering::Relaxed);
        self.bytes_sent.fetch_add(sent.bytes, Ordering::Relaxed);
    }

    pub(super) fn broadcast(&self, took: Duration) {
        self.broadcasts.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.broadcast_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) {
        self.snapshots_sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ping(&self) {
        self.pings_sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn heartbeat_missed(&self) {
        self.heartbeats_missed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn socket_cut(&self) {
        self.sockets_cut.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lost(&self, why: Dropped, count: u64) {
        if count > 0 {
            self.dropped[why as usize].fetch_add(count, Ordering::Relaxed);
        }
    }
}
