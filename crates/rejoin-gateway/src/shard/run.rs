//! The shard's loop.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    io, mem,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rejoin_core::{DropReason, Item, Metrics, Shutdown, Snapshot};
use rejoin_protocol::{CloseCode, StreamNumber};
use tokio::time::{Instant, Sleep, sleep};
use tracing::debug;

use crate::{
    net::WriteHalf,
    shard::{
        Arrival, Settings, Shared, attend::Alarm, batch::Joined, deliver::Sent, readers::Readers,
        wheel::Wheel, writer::Writer,
    },
};

/// How long a peer may take to accept what is queued before a close.
const CLOSE_GRACE: Duration = Duration::from_secs(5);
/// How long a peer of a stopping server may take to close its side.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

pub(super) type Later = Pin<Box<dyn Future<Output = Event> + Send>>;

/// What a shard waits for besides its inbox.
pub(super) enum Event {
    Writable { slot: usize, generation: u64 },
    Snapshot { slot: usize, generation: u64, stream: StreamNumber, snapshot: Option<Snapshot> },
    GraceOver { slot: usize, generation: u64 },
    LingerOver { socket: Arc<WriteHalf> },
}

/// A shard's state, all of it its own.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Settings,
    pub(super) metrics: Arc<Metrics>,
    pub(super) shutdown: Shutdown,
    pub(super) writers: Vec<Option<Writer>>,
    pub(super) streams: HashMap<StreamNumber, Readers>,
    pub(super) events: FuturesUnordered<Later>,
    /// Streams that may have more.
    pub(super) advanced: VecDeque<StreamNumber>,
    /// Connections that have had a turn and are still behind.
    pub(super) behind: VecDeque<usize>,
    pub(super) generation: u64,
    pub(super) joined: Joined,
    /// While the server stops: the first slot that was not told.
    pub(super) draining: Option<usize>,
    /// Sockets whose peers have not closed their side yet.
    pub(super) lingering: usize,
    /// What sockets took in this turn, besides broadcasts.
    pub(super) sent: Sent,
    /// The beginning of the wheel's ticks, which are seconds.
    pub(super) born_at: Instant,
    pub(super) wheel: Wheel<Alarm>,
    /// One timer for the wheel; it runs while there is something in it.
    timer: Pin<Box<Sleep>>,
}

impl Run {
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: Settings,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            shared,
            settings,
            metrics,
            shutdown,
            writers: Vec::new(),
            streams: HashMap::new(),
            events: FuturesUnordered::new(),
            advanced: VecDeque::new(),
            behind: VecDeque::new(),
            generation: 0,
            joined: Joined::default(),
            draining: None,
            lingering: 0,
            sent: Sent::default(),
            born_at: Instant::now(),
            wheel: Wheel::default(),
            timer: Box::pin(sleep(Duration::ZERO)),
        }
    }

    /// Runs until the shutdown has begun and all sockets are closed.
    pub(super) async fn run(mut self) {
        loop {
            let outboxes = self.take_inbox();
            for slot in &outboxes {
                self.serve(*slot);
            }
            for _ in 0..self.behind.len() {
                if let Some(slot) = self.behind.pop_front() {
                    self.serve_again(slot);
                }
            }
            let stream = self.advanced.pop_front();
            if let Some(stream) = stream {
                self.broadcast(stream).await;
            }
            mem::take(&mut self.sent).count(&self.metrics);
            let untold = self.drain_turn();
            if self.draining.is_some() && self.has_ended() {
                return;
            }
            let busy =
                untold || stream.is_some() || !outboxes.is_empty() || !self.behind.is_empty();
            self.wait(busy).await;
        }
    }

    /// Handles what has happened; if nothing has and there is no work, waits for it.
    async fn wait(&mut self, busy: bool) {
        if busy {
            // Others on this thread first: a shard never has the last word.
            tokio::task::yield_now().await;
            while let Some(Some(event)) = futures_util::FutureExt::now_or_never(self.events.next())
            {
                self.happen(event);
            }
            if self.shutdown.has_begun() {
                self.drain();
            }
            if self.next_alarm().is_some_and(|at| at <= Instant::now()) {
                self.ring();
            }
            return;
        }
        let alarm = self.next_alarm();
        if let Some(at) = alarm.filter(|at| *at != self.timer.deadline()) {
            self.timer.as_mut().reset(at);
        }
        let shared = Arc::clone(&self.shared);
        // Each branch is cancel safe: a permit, a set of futures that stays, a timer, a token.
        tokio::select! {
            () = shared.filled.notified() => {}
            Some(event) = self.events.next() => self.happen(event),
            () = self.timer.as_mut(), if alarm.is_some() => self.ring(),
            () = self.shutdown.begun(), if self.draining.is_none() => self.drain(),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Writable { slot, generation } => {
                if let Some(writer) = self.writer(slot, generation) {
                    (writer.blocked, writer.late) = (false, true);
                    self.serve(slot);
                }
            }
            Event::Snapshot { slot, generation, stream, snapshot } => {
                if self.writer(slot, generation).is_some() {
                    self.skip_to(slot, stream, snapshot);
                    self.serve(slot);
                }
            }
            Event::GraceOver { slot, generation } => {
                if self.writer(slot, generation).is_some() {
                    debug!(slot, "a peer did not take its last messages");
                    if self.draining.is_some() {
                        self.metrics.sockets_cut.inc();
                    }
                    self.remove(slot);
                }
            }
            // A peer that has not closed its side by now is not waited for.
            Event::LingerOver { socket } => {
                self.lingering -= 1;
                shut_down(&socket, std::net::Shutdown::Both);
            }
        }
    }

    fn take_inbox(&mut self) -> Vec<usize> {
        let mut inbox = self.shared.inbox.lock();
        self.advanced.extend(inbox.streams.drain(..));
        let outboxes = mem::take(&mut inbox.outboxes);
        let arrivals = mem::take(&mut inbox.arrivals);
        drop(inbox);
        for arrival in arrivals {
            self.arrive(arrival);
        }
        outboxes
    }

    fn arrive(&mut self, arrival: Arrival) {
        let slot = arrival.slot;
        self.generation += 1;
        if self.draining.is_some() {
            arrival.outbox.push(Item::Close(self.shared.drain.goodbye()));
        }
        let writer = Writer::new(arrival, self.generation);
        if self.writers.len() <= slot {
            self.writers.resize_with(slot + 1, || None);
        }
        self.writers[slot] = Some(writer);
    }

    /// Serves a connection that waited for another turn.
    fn serve_again(&mut self, slot: usize) {
        if let Some(Some(writer)) = self.writers.get_mut(slot) {
            writer.queued = false;
            self.serve(slot);
        }
    }

    /// Whether all sockets are closed, and so the shard is: nobody can arrive any more.
    fn has_ended(&self) -> bool {
        let mut inbox = self.shared.inbox.lock();
        let open = self.lingering > 0 || self.writers.iter().any(Option::is_some);
        inbox.closed = !open && inbox.arrivals.is_empty();
        inbox.closed
    }

    pub(super) fn writer(&mut self, slot: usize, generation: u64) -> Option<&mut Writer> {
        let writer = self.writers.get_mut(slot)?.as_mut()?;
        (writer.generation == generation).then_some(writer)
    }

    /// Gives a connection that is to be closed a limited time to take what is for it.
    pub(super) fn hurry(&mut self, slot: usize) {
        let Some(Some(writer)) = self.writers.get(slot) else { return };
        let generation = writer.generation;
        self.events.push(Box::pin(async move {
            sleep(CLOSE_GRACE).await;
            Event::GraceOver { slot, generation }
        }));
    }

    pub(super) fn fail(&mut self, slot: usize, error: &io::Error) {
        debug!(slot, %error, "a socket failed");
        if let Some(Some(writer)) = self.writers.get(slot) {
            // The reading side hears of it and cleans up.
            shut_down(&writer.socket, std::net::Shutdown::Both);
        }
        self.remove(slot);
    }

    /// Forgets a connection; its socket's write side is shut down.
    pub(super) fn remove(&mut self, slot: usize) {
        let Some(writer) = self.writers.get_mut(slot).and_then(Option::take) else { return };
        let slow =
            writer.goodbye.as_deref().is_some_and(|goodbye| goodbye.code == CloseCode::TooSlow);
        let why = if slow { DropReason::Slow } else { DropReason::Closed };
        for (stream, place) in writer.reads {
            self.remove_entry(stream, place, why);
        }
        shut_down(&writer.socket, std::net::Shutdown::Write);
        self.shared.inbox.lock().slots.try_remove(slot);
        self.shared.drain.leave();
        self.metrics.frames_dropped(DropReason::Outbox, writer.outbox.end() as u64);
        if writer.closing {
            let Writer { socket, outbox, .. } = writer;
            let grace = if self.draining.is_some() { DRAIN_GRACE } else { CLOSE_GRACE };
            self.lingering += 1;
            self.events.push(Box::pin(async move {
                let _ = tokio::time::timeout(grace, outbox.abandoned()).await;
                Event::LingerOver { socket }
            }));
        }
    }
}

fn shut_down(socket: &WriteHalf, how: std::net::Shutdown) {
    // It fails if the peer was faster.
    let _ = socket.shutdown(how);
}
