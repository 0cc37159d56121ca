//! Shards: I/O threads, each of which owns its connections completely.
//!
//! A shard reads, decodes, executes and writes for its connections without locks. Each pass of its
//! loop reads from the sockets that have data, handles all complete messages, and then writes once
//! to each socket. Slow work runs as a job on the general runtime and reports its result to the
//! shard's inbox. A broadcast costs one notification per shard that has readers.

mod acceptor;
mod batch;
mod broadcast;
mod catch_up;
mod close;
mod connection;
mod drain;
mod event_loop;
mod exchange;
mod inbox;
mod opening;
mod output;
mod pool;
mod readers;
#[cfg(test)]
mod tests;
mod timer_queue;
mod transcode;
mod window;

use std::{
    collections::{HashMap, VecDeque},
    io, mem,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use mio::{Poll, Token};
use rejoin_protocol::StreamNumber;
use slab::Slab;
use tokio::time::Instant;

pub(crate) use pool::{Settings, Shards};
pub(crate) use transcode::prepare;

use crate::{
    accept::Accept,
    metrics::GatewayMetrics,
    shard::{
        acceptor::Acceptor, batch::JoinedBatch, close::ClosingQueue, connection::Connection,
        drain::Drain, event_loop::LoadMeter, inbox::ShardHandle, readers::Readers,
        timer_queue::TimerQueue,
    },
    socket::{Accepted, RawAttach},
    state::Shared,
    transport::Transport,
};

/// The capacity of the read buffer, and so the maximum size of one read from a socket, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// The poll token of the waker. Connections use their slots as tokens.
const WAKER: Token = Token(usize::MAX);
/// The poll token of the listener.
const LISTENER: Token = Token(usize::MAX - 1);

/// A WebSocket that was upgraded on the general runtime.
#[derive(Debug)]
pub(crate) struct UpgradedSocket {
    pub(crate) transport: Transport,
    /// Bytes that were read together with the request's head, but follow it.
    pub(crate) first_bytes: Bytes,
    pub(crate) accepted: Accepted,
    /// The session to attach to; `Some` for a raw endpoint.
    pub(crate) raw: Option<RawAttach>,
}

/// The parts of the gateway that all its shards share.
#[derive(Clone, Debug)]
struct Context {
    gateway: Arc<Shared>,
    /// Set when the first shard receives the listener, before any socket is accepted.
    accept: Arc<OnceLock<Arc<Accept>>>,
    drain: Arc<Drain>,
    /// Handles to all shards, including this one.
    shards: Arc<OnceLock<Vec<ShardHandle>>>,
}

/// The state of one shard. Only the shard's thread accesses it.
struct Shard {
    context: Context,
    metrics: Arc<GatewayMetrics>,
    handle: ShardHandle,
    poll: Poll,
    /// The listener; `Some` in the first shard until a stop begins.
    acceptor: Option<Acceptor>,
    /// Connections by slot. A slot is also the connection's poll token.
    connections: Slab<Connection>,
    /// The readers of this shard's connections, grouped by stream.
    streams: HashMap<StreamNumber, Readers>,
    timers: TimerQueue,
    closing: ClosingQueue,
    work: Work,
    meter: LoadMeter,
    /// The first slot that the drain has not visited yet; `Some` during a stop.
    draining: Option<usize>,
    /// The batch of the current broadcast, kept between broadcasts to reuse its memory.
    joined: JoinedBatch,
    /// The buffer into which all sockets are read.
    buffer: Vec<u8>,
    /// The buffer in which small messages are joined into one write.
    scratch: Vec<u8>,
}

/// The work lists of this pass and the next.
///
/// Each list contains a connection at most once: its flags `in_readable`, `in_dirty` and
/// `in_behind` are set while it is listed.
#[derive(Debug, Default)]
struct Work {
    /// Connections to read.
    readable: VecDeque<usize>,
    /// Connections with items in their outboxes or with output to flush.
    dirty: Vec<usize>,
    /// Connections with readers that are behind.
    behind: VecDeque<usize>,
    /// Streams that may have new frames.
    advanced: VecDeque<StreamNumber>,
}

impl Shard {
    /// Creates a shard and its handle. The shard does nothing until `run` is called.
    ///
    /// # Errors
    /// If the system runs out of file descriptors.
    fn new(context: Context) -> io::Result<(Self, ShardHandle)> {
        let poll = Poll::new()?;
        let handle = ShardHandle::new(poll.registry(), WAKER)?;

        let shard = Self {
            metrics: Arc::clone(&context.gateway.metrics),
            context,
            handle: handle.clone(),
            poll,
            acceptor: None,
            connections: Slab::new(),
            streams: HashMap::new(),
            timers: TimerQueue::new(),
            closing: ClosingQueue::default(),
            work: Work::default(),
            meter: LoadMeter::new(),
            draining: None,
            joined: JoinedBatch::default(),
            buffer: vec![0; READ_BYTES],
            scratch: Vec::new(),
        };

        Ok((shard, handle))
    }

    /// Sets a connection's timer, unless an earlier one is set.
    fn set_timer(&mut self, slot: usize, at: Instant) {
        let tick = self.timers.tick(at);
        let Some(connection) = self.connections.get_mut(slot) else { return };

        // The queue cannot move a timer, so only an earlier one is added. When a timer fires, the
        // connection sets the next one.
        if connection.set_timer(tick) {
            self.timers.insert(tick, slot);
        }
    }

    /// Schedules a read from a connection, if it could make progress.
    fn mark_readable(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot)
            && connection.wants_read()
            && !mem::replace(&mut connection.in_readable, true)
        {
            self.work.readable.push_back(slot);
        }
    }

    /// Schedules taking a connection's outbox and flushing its output.
    fn mark_dirty(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot)
            && !mem::replace(&mut connection.in_dirty, true)
        {
            self.work.dirty.push(slot);
        }
    }

    /// Schedules a connection's readers to catch up.
    fn mark_behind(&mut self, slot: usize) {
        self.work.mark_behind(&mut self.connections, slot);
    }
}

impl Work {
    fn is_empty(&self) -> bool {
        self.readable.is_empty()
            && self.dirty.is_empty()
            && self.behind.is_empty()
            && self.advanced.is_empty()
    }

    /// Schedules a connection's readers to catch up.
    ///
    /// Takes the connections instead of the shard, because a broadcast calls this while it borrows
    /// a stream's readers from the shard.
    fn mark_behind(&mut self, connections: &mut Slab<Connection>, slot: usize) {
        if let Some(connection) = connections.get_mut(slot)
            && !mem::replace(&mut connection.in_behind, true)
        {
            self.behind.push_back(slot);
        }
    }
}
