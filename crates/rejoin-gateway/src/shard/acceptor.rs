//! New sockets: the first shard accepts them and hands out those that others have room for.

use std::{io, mem, net::TcpListener as StdTcpListener, sync::Arc, time::Duration};

use mio::{Interest, net::TcpListener};
use socket2::SockRef;
use tokio::time::Instant;
use tracing::{debug, error, warn};

use crate::{
    accept::Accept,
    peer::Peer,
    shard::{
        ShardHandle,
        inbox::Command,
        run::{LISTENER, Shard},
    },
    transport::prepare,
};

/// Connections that one shard takes before others get any, unless it is busy: threads that wake
/// each other cost more than one that has time.
const PACKED: usize = 1024;
/// Sockets that are accepted in one pass.
const TURN_SOCKETS: usize = 64;
/// How long to wait when the process has no more file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The listener of a gateway.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    accept: Arc<Accept>,
    /// Sockets may wait that were connected before the listener had its options.
    has_early: bool,
    /// The alarm is set that goes on with accepting.
    has_alarm: bool,
}

impl Acceptor {
    /// The slot of the acceptor's alarm: no connection has it.
    pub(super) const ALARM: usize = u32::MAX as usize;
}

impl Shard {
    /// Begins to accept sockets.
    pub(super) fn listen(&mut self, listener: StdTcpListener, accept: Arc<Accept>) {
        // All shards read first requests with it.
        let accept = Arc::clone(self.context.accept.get_or_init(|| accept));
        prepare(&SockRef::from(&listener));
        let mut listener = TcpListener::from_std(listener);
        let registry = self.poll.registry();
        if let Err(error) = registry.register(&mut listener, LISTENER, Interest::READABLE) {
            return error!(%error, "cannot accept connections");
        }
        self.acceptor = Some(Acceptor { listener, accept, has_early: true, has_alarm: false });
        self.accept();
    }

    /// Accepts the sockets that wait, as far as its turn goes.
    pub(super) fn accept(&mut self) {
        let Some(acceptor) = &self.acceptor else { return };
        let accept = Arc::clone(&acceptor.accept);
        for _ in 0..TURN_SOCKETS {
            let Some(acceptor) = &mut self.acceptor else { return };
            match acceptor.listener.accept() {
                Ok((socket, address)) => {
                    if acceptor.has_early {
                        prepare(&SockRef::from(&socket));
                    }
                    let peer = Peer { address: address.ip(), is_secure: accept.is_tls() };
                    let slot = accept.enter();
                    let excess = accept.excess(self.load_of_all());
                    if excess > 0 {
                        accept.make_room(excess);
                    }
                    if accept.is_tls() {
                        accept.serve_tls(socket.into(), slot, peer);
                        continue;
                    }
                    let shard = self.least_loaded();
                    shard.add_load();
                    if shard.is(&self.handle) {
                        self.open(socket, slot, peer);
                    } else {
                        shard.send(Command::Open(socket, slot, peer));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    acceptor.has_early = false;
                    return;
                }
                Err(error) if is_of_one_client(&error) => debug!(%error, "a client went away"),
                Err(error) => {
                    warn!(%error, "cannot accept connections, trying again");
                    accept.make_room(TURN_SOCKETS);
                    return self.accept_later(PAUSE);
                }
            }
        }
        // The poll reports a listener once, however many sockets wait.
        self.accept_later(Duration::ZERO);
    }

    /// Goes on with accepting, after its alarm.
    pub(super) fn accept_again(&mut self) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.has_alarm = false;
        }
        self.accept();
    }

    fn accept_later(&mut self, pause: Duration) {
        let Some(acceptor) = &mut self.acceptor else { return };
        if !mem::replace(&mut acceptor.has_alarm, true) {
            let tick = self.timers.tick(Instant::now() + pause);
            self.timers.insert(tick, Acceptor::ALARM);
        }
    }

    /// Connections of all shards.
    fn load_of_all(&self) -> usize {
        let shards = self.context.shards.get().map_or(&[][..], Vec::as_slice);
        shards.iter().map(ShardHandle::load).sum()
    }

    /// The shard that takes the next socket.
    fn least_loaded(&self) -> ShardHandle {
        let Some(shards) = self.context.shards.get() else { return self.handle.clone() };
        let idle = shards.iter().find(|shard| shard.load() < PACKED && !shard.is_busy());
        let chosen = idle.or_else(|| shards.iter().min_by_key(|shard| shard.load()));
        chosen.unwrap_or(&self.handle).clone()
    }
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
