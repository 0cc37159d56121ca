//! The threads of all shards of a gateway.

use std::{
    io,
    net::TcpListener,
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use rejoin_core::Shutdown;
use tokio::{runtime::Handle, sync::oneshot};
use tracing::error;

use crate::{
    accept::Accept,
    shard::{
        Context, Shard, UpgradedSocket,
        drain::Drain,
        inbox::{Command, ShardHandle},
    },
    state::Shared,
};

/// The settings that all shards share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// The longest period over which a stop spreads the reconnects of clients.
    pub(crate) drain_window: Duration,
}

/// Handles to all shards of a gateway.
#[derive(Debug)]
pub(crate) struct Shards {
    handles: Vec<ShardHandle>,
}

impl Shards {
    /// Starts `count` threads. They end once the shutdown has begun and all sockets are closed.
    ///
    /// Must be called within the general runtime, on which the jobs of connections run.
    ///
    /// # Errors
    /// If the system runs out of file descriptors or threads.
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

    /// Gives the listener to the first shard, which accepts sockets for all shards.
    pub(crate) fn listen(&self, listener: TcpListener, accept: Arc<Accept>) {
        self.handles[0].send(Command::Listen(listener, accept));
    }

    /// Gives an upgraded socket to the shard with the fewest connections.
    pub(crate) fn adopt(&self, socket: UpgradedSocket) {
        let least_loaded = self.handles.iter().min_by_key(|shard| shard.load());
        least_loaded.expect("there is a shard").send(Command::Adopt(Box::new(socket)));
    }
}

impl Context {
    pub(super) fn new(settings: Settings, gateway: &Arc<Shared>) -> Self {
        Self {
            gateway: Arc::clone(gateway),
            accept: Arc::default(),
            drain: Arc::new(Drain::new(settings.drain_window)),
            shards: Arc::new(OnceLock::new()),
        }
    }
}

/// Starts one shard's thread, and the task through which the shutdown waits for it.
fn start(number: usize, context: Context, shutdown: &Shutdown) -> io::Result<ShardHandle> {
    let (shard, handle) = Shard::new(context)?;
    let (ended_tx, ended) = oneshot::channel::<()>();
    let runtime = Handle::current();

    thread::Builder::new().name(format!("rejoin-io-{number}")).spawn(move || {
        // The shard spawns jobs on this runtime and reads its clock, which tests can pause.
        let _runtime = runtime.enter();

        // Dropped when the thread ends, even by a panic, which completes `ended`.
        let _ended = ended_tx;
        shard.run();
    })?;

    let (shard, begun) = (handle.clone(), shutdown.clone());
    shutdown.spawn(async move {
        begun.begun().await;
        shard.send(Command::Drain);
        let _ = ended.await;

        // A shard closes its inbox before it ends, so an open inbox means a panic.
        if shard.is_open() {
            error!("an I/O thread has panicked");
        }
    });

    Ok(handle)
}
