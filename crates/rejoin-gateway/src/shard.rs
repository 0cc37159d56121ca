//! Shards: each is one thread that owns its connections completely.
//!
//! A shard reads, decodes, executes and writes for its connections, without a lock or another
//! thread in between. One pass of its loop reads what has arrived, handles all complete messages,
//! and then writes once to each socket. What takes time runs on the general runtime and reports
//! its end. A broadcast costs one notification for each shard that has readers.

mod acceptor;
mod batch;
mod broadcast;
mod close;
mod connection;
mod drain;
mod form;
mod inbox;
mod keepalive;
mod output;
mod pass;
mod readers;
mod run;
#[cfg(test)]
mod tests;
mod timer_queue;

use std::{
    io,
    net::TcpListener,
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use bytes::Bytes;
use rejoin_core::Shutdown;
use tokio::{runtime::Handle, sync::oneshot};
use tracing::error;

pub(crate) use form::prepare;
pub(crate) use inbox::ShardHandle;
pub(crate) use keepalive::{Duty, Keepalive, Now};

use crate::{
    accept::Accept,
    shard::{drain::Drain, inbox::Command, run::Shard},
    socket::{Accepted, RawAttach},
    state::Shared,
    transport::Transport,
};

/// How shards look after connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// The longest time over which the clients of a stopping server come back.
    pub(crate) drain_window: Duration,
}

/// All shards of a gateway.
#[derive(Debug)]
pub(crate) struct Shards {
    handles: Vec<ShardHandle>,
}

/// A WebSocket that HTTP has upgraded.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) transport: Transport,
    /// Bytes behind the request that were read with it.
    pub(crate) first_bytes: Bytes,
    pub(crate) accepted: Accepted,
    /// There for a raw endpoint.
    pub(crate) raw: Option<RawAttach>,
}

/// What a shard uses of its gateway.
#[derive(Clone, Debug)]
struct Context {
    gateway: Arc<Shared>,
    /// Set when the listener is given to the first shard, before any socket is accepted.
    accept: Arc<OnceLock<Arc<Accept>>>,
    drain: Arc<Drain>,
    /// All shards, this one among them.
    shards: Arc<OnceLock<Vec<ShardHandle>>>,
}

impl Context {
    fn new(settings: Settings, gateway: &Arc<Shared>) -> Self {
        Self {
            gateway: Arc::clone(gateway),
            accept: Arc::default(),
            drain: Arc::new(Drain::new(settings.drain_window)),
            shards: Arc::default(),
        }
    }
}

impl Shards {
    /// Starts so many threads. They end when the shutdown has begun and all sockets are closed.
    /// Called within the general runtime.
    ///
    /// # Errors
    /// If the system has no more descriptors or threads.
    pub(crate) fn start(
        count: NonZeroUsize,
        settings: Settings,
        gateway: &Arc<Shared>,
    ) -> io::Result<Self> {
        let context = Context::new(settings, gateway);
        let start = |number| start(number, context.clone(), &gateway.shutdown);
        let handles = (0..count.get()).map(start).collect::<io::Result<Vec<_>>>()?;
        context.shards.set(handles.clone()).expect("set once");
        Ok(Self { handles })
    }

    /// Gives the listener to the first shard.
    pub(crate) fn listen(&self, listener: TcpListener, accept: Arc<Accept>) {
        self.handles[0].send(Command::Listen(listener, accept));
    }

    /// Gives a WebSocket to the shard with the fewest connections.
    pub(crate) fn adopt(&self, arrival: Arrival) {
        let least = self.handles.iter().min_by_key(|shard| shard.load());
        least.expect("there is a shard").send(Command::Adopt(Box::new(arrival)));
    }
}

/// Starts one shard's thread, and the task by which the shutdown waits for it.
fn start(number: usize, context: Context, shutdown: &Shutdown) -> io::Result<ShardHandle> {
    let (shard, handle) = Shard::new(context)?;
    let (ended_tx, ended) = oneshot::channel::<()>();
    let runtime = Handle::current();
    thread::Builder::new().name(format!("rejoin-io-{number}")).spawn(move || {
        // For jobs, and for clocks that tests stop.
        let _runtime = runtime.enter();
        let _ended = ended_tx;
        shard.run();
    })?;
    let (shard, begun) = (handle.clone(), shutdown.clone());
    shutdown.spawn(async move {
        begun.begun().await;
        shard.send(Command::Drain);
        // The sender is dropped with the thread.
        let _ = ended.await;
        if shard.is_open() {
            error!("an I/O thread has panicked");
        }
    });
    Ok(handle)
}
