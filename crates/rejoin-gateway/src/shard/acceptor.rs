//! New sockets, which the first shard accepts and distributes among all shards.

use std::{io, mem, net::TcpListener as StdTcpListener, sync::Arc, time::Duration};

use mio::{Interest, net::TcpListener};
use socket2::SockRef;
use tokio::time::Instant;
use tracing::{debug, error, warn};

use crate::{
    accept::Accept,
    peer::Peer,
    shard::{
        LISTENER, Shard,
        inbox::{Command, ShardHandle},
    },
    transport::set_options,
};

/// The number of connections that one shard takes before the next shard gets any, unless it is
/// busy. A message between two threads that wake each other costs more than one within a thread.
const PACKED_CONNECTIONS: usize = 1024;
/// The maximum number of sockets accepted in one pass.
const SOCKETS_PER_PASS: usize = 64;
/// The pause after the process has run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listener of a gateway.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    accept: Arc<Accept>,
    /// The queue may contain sockets that connected before the listener's options were set, and
    /// that therefore did not inherit them.
    has_early: bool,
    /// A timer that resumes accepting is set.
    has_timer: bool,
}

impl Acceptor {
    /// The slot of the acceptor's timer. No connection has it: slots start at 0.
    pub(super) const TIMER_SLOT: usize = u32::MAX as usize;
}

impl Shard {
    /// Starts accepting sockets.
    pub(super) fn listen(&mut self, listener: StdTcpListener, accept: Arc<Accept>) {
        // Shared with all shards, because each of them reads first requests.
        let accept = Arc::clone(self.context.accept.get_or_init(|| accept));
        set_options(&SockRef::from(&listener));
        let mut listener = TcpListener::from_std(listener);

        let registry = self.poll.registry();
        if let Err(error) = registry.register(&mut listener, LISTENER, Interest::READABLE) {
            return error!(%error, "cannot accept connections");
        }

        self.acceptor = Some(Acceptor { listener, accept, has_early: true, has_timer: false });

        // Sockets that connected before the registration trigger no event.
        self.accept();
    }

    /// Accepts queued sockets, at most `SOCKETS_PER_PASS`.
    pub(super) fn accept(&mut self) {
        let Some(acceptor) = &self.acceptor else { return };

        let accept = Arc::clone(&acceptor.accept);

        for _ in 0..SOCKETS_PER_PASS {
            let Some(acceptor) = &mut self.acceptor else { return };

            match acceptor.listener.accept() {
                Ok((socket, address)) => {
                    if acceptor.has_early {
                        set_options(&SockRef::from(&socket));
                    }

                    let peer = Peer { address: address.ip(), is_secure: accept.is_tls() };
                    let slot = accept.acquire_slot();
                    let excess = accept.excess(self.total_load());
                    if excess > 0 {
                        accept.evict_oldest(excess);
                    }

                    if accept.is_tls() {
                        accept.serve_tls(socket.into(), slot, peer);
                        continue;
                    }

                    let shard = self.choose_shard();

                    // Counted before the socket arrives, or a burst would go to one shard.
                    shard.add_load();
                    if shard.is_same(&self.handle) {
                        self.open(socket, slot, peer);
                    } else {
                        shard.send(Command::Open(socket, slot, peer));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    acceptor.has_early = false;
                    return;
                }
                Err(error) if is_client_error(&error) => {
                    debug!(%error, "a client disconnected before it was accepted");
                }
                Err(error) => {
                    warn!(%error, "cannot accept connections; trying again in 100 ms");

                    // Most likely the process has run out of file descriptors. Evictions free some.
                    accept.evict_oldest(SOCKETS_PER_PASS);
                    return self.accept_later(ACCEPT_PAUSE);
                }
            }
        }

        // The poll is edge-triggered, so it does not report the remaining sockets again.
        self.accept_later(Duration::ZERO);
    }

    /// Resumes accepting when the acceptor's timer fires.
    pub(super) fn resume_accepting(&mut self) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.has_timer = false;
        }
        self.accept();
    }

    fn accept_later(&mut self, pause: Duration) {
        let Some(acceptor) = &mut self.acceptor else { return };

        if !mem::replace(&mut acceptor.has_timer, true) {
            let tick = self.timers.tick(Instant::now() + pause);
            self.timers.insert(tick, Acceptor::TIMER_SLOT);
        }
    }

    /// Returns the number of connections in all shards.
    fn total_load(&self) -> usize {
        let shards = self.context.shards.get().map_or(&[][..], Vec::as_slice);
        shards.iter().map(ShardHandle::load).sum()
    }

    /// Returns the shard for the next socket: the first one with room, else the least loaded.
    fn choose_shard(&self) -> ShardHandle {
        let Some(shards) = self.context.shards.get() else { return self.handle.clone() };

        let has_room = |shard: &&ShardHandle| shard.load() < PACKED_CONNECTIONS && !shard.is_busy();
        let chosen = shards.iter().find(has_room);
        let chosen = chosen.or_else(|| shards.iter().min_by_key(|shard| shard.load()));
        chosen.unwrap_or(&self.handle).clone()
    }
}

/// Returns `true` if an `accept` error concerns only one client, which has disconnected.
fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
