//! Shards: each is one task that owns the write side of many sockets.
//!
//! A broadcast costs one notice for each shard. The shard takes what is pending, and gives each
//! socket that is up to date the same bytes in one non-blocking write. A socket that would
//! block waits for writability by itself and then catches up from the stream's ring; the shard
//! goes on.

mod attend;
mod batch;
mod deliver;
mod drain;
mod form;
mod readers;
mod run;
mod serve;
#[cfg(test)]
mod tests;
mod watch;
mod wheel;
mod writer;

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rejoin_core::{Form, Metrics, Outbox, Shutdown, Wake};
use rejoin_protocol::StreamNumber;
use slab::Slab;
use tokio::sync::Notify;

use crate::{net::WriteHalf, shard::drain::Drain};

/// How shards look after connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How often something is heard from a living peer.
    pub(crate) heartbeat: Duration,
    /// The longest time over which the clients of a stopping server come back.
    pub(crate) drain_window: Duration,
    /// The time of day, in milliseconds since the epoch.
    pub(crate) clock: fn() -> u64,
}

/// All shards of a gateway.
#[derive(Debug)]
pub(crate) struct Shards {
    shards: Vec<Arc<Shared>>,
    /// Which shard gets the next socket: in turn.
    next: AtomicUsize,
}

/// What a shard shares with those who tell it something.
#[derive(Debug)]
struct Shared {
    /// Held for a push or a swap; taken with a stream's lock held, never the other way round.
    inbox: Mutex<Inbox>,
    /// Told once for each push; the shard looks at the whole inbox.
    filled: Notify,
    /// The same for all shards.
    drain: Arc<Drain>,
}

#[derive(Debug, Default)]
struct Inbox {
    /// Streams that advanced; each is here once until the shard takes from it.
    streams: Vec<StreamNumber>,
    /// Outboxes that have items; each is here once until the shard empties it, or closes.
    outboxes: Vec<usize>,
    arrivals: Vec<Arrival>,
    /// Which slots are taken.
    slots: Slab<()>,
    /// The shard has ended: nobody takes what arrives.
    closed: bool,
}

#[derive(Debug)]
struct Arrival {
    slot: usize,
    socket: WriteHalf,
    outbox: Arc<Outbox>,
    form: Form,
}

impl Shards {
    /// Starts so many shards; they end when the shutdown begins, after what is queued.
    pub(crate) fn start(
        count: NonZeroUsize,
        settings: Settings,
        metrics: &Arc<Metrics>,
        shutdown: &Shutdown,
    ) -> Self {
        let drain = Arc::new(Drain::new(settings.drain_window));
        let start = |_| {
            let inbox = Mutex::default();
            let shared = Shared { inbox, filled: Notify::new(), drain: Arc::clone(&drain) };
            let shared = Arc::new(shared);
            let metrics = Arc::clone(metrics);
            let run = run::Run::new(Arc::clone(&shared), settings, metrics, shutdown.clone());
            shutdown.spawn(run.run());
            shared
        };
        Self { shards: (0..count.get()).map(start).collect(), next: AtomicUsize::new(0) }
    }

    /// Gives a socket's write side to a shard; what is pushed to the outbox is written to it,
    /// and what it reads of streams in this form.
    pub(crate) fn add(&self, socket: WriteHalf, form: Form) -> Arc<Outbox> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let shard = &self.shards[turn % self.shards.len()];
        let mut inbox = shard.inbox.lock();
        let slot = inbox.slots.insert(());
        let wake: Arc<dyn Wake> = Arc::clone(shard) as _;
        let outbox = Arc::new(Outbox::new(wake, slot));
        if inbox.closed {
            outbox.end();
            return outbox;
        }
        shard.drain.arrive();
        inbox.arrivals.push(Arrival { slot, socket, outbox: Arc::clone(&outbox), form });
        drop(inbox);
        shard.filled.notify_one();
        outbox
    }
}

impl Wake for Shared {
    fn stream_advanced(&self, stream: StreamNumber) {
        self.inbox.lock().streams.push(stream);
        self.filled.notify_one();
    }

    fn outbox_filled(&self, slot: usize) {
        self.inbox.lock().outboxes.push(slot);
        self.filled.notify_one();
    }
}
