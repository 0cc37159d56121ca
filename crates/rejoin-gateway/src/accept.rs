//! Accepted sockets before they become WebSockets: TLS handshakes, HTTP, and first requests.

mod body;
mod http_socket;
mod request;
mod service;

use std::{io, net::TcpStream, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, header},
    response::Response,
};
use bytes::Bytes;
use hyper::{server::conn::http1, upgrade::Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use rejoin_core::Shutdown;
use tokio::time::{Instant, timeout};
use tracing::debug;

use request::MAX_HEAD_BYTES;

pub(crate) use body::Stopping;
pub(crate) use request::{FirstRequest, Opening};

use crate::{
    accept::{http_socket::HttpSocket, service::ConnectionService},
    address_limit::AddressLimit,
    config::GatewayConfig,
    peer::{Peer, TrustedProxies},
    pending::{PendingConnections, PendingSlot},
    state::Shared,
    tls::Tls,
    transport::Transport,
};

/// The maximum duration of a TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum time that a stop waits for a request in progress. The socket is then cut.
const DRAIN_BUSY: Duration = Duration::from_secs(3);
/// The same for a connection with no request in progress: part of a response may be unsent.
const DRAIN_IDLE: Duration = Duration::from_secs(1);

/// The state that all accepted sockets share.
#[derive(Debug)]
pub(crate) struct Accept {
    shared: Arc<Shared>,
    router: Router,
    /// The path of the upgrades that shards answer themselves.
    websocket_path: String,
    tls: Option<Tls>,
    trusted_proxies: TrustedProxies,
    pending: Arc<PendingConnections>,
    /// Counts the sockets on the general runtime: each of them holds a clone.
    http_sockets: Arc<()>,
    limit: AddressLimit,
    shutdown: Shutdown,
    /// The general runtime, which serves HTTP. Shards spawn onto it from their own threads.
    runtime: tokio::runtime::Handle,
}

impl Accept {
    /// Creates the state. Must be called within the runtime that serves HTTP.
    pub(crate) fn new(shared: &Arc<Shared>, router: Router) -> Self {
        let config: &GatewayConfig = &shared.config;
        let metrics = Arc::clone(&shared.metrics);
        if let Some(tls) = &config.tls {
            tls.watch(&shared.shutdown);
        }
        Self {
            shared: Arc::clone(shared),
            router,
            websocket_path: format!("{}ws", config.base_path),
            tls: config.tls.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            pending: Arc::new(PendingConnections::new(config.max_handshakes, Some(metrics))),
            http_sockets: Arc::default(),
            limit: AddressLimit::new(config.connections_per_address),
            shutdown: shared.shutdown.clone(),
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// Returns a slot for a new connection. Evicts the oldest pending one if all are taken.
    pub(crate) fn acquire_slot(&self) -> PendingSlot {
        self.pending.acquire()
    }

    /// Evicts up to `excess` sockets, oldest first within each set.
    ///
    /// The sets, in order: sockets that linger after their last message, sockets that are not
    /// WebSockets, and unauthenticated WebSockets.
    pub(crate) fn evict_oldest(&self, excess: usize) {
        // The least valuable first: a lingering socket has already sent its last message, whereas
        // an unauthenticated WebSocket is the most likely to become a user's connection.
        let sets = [&self.shared.lingering, &self.pending, &self.shared.unauthenticated];
        let mut excess = excess;
        for set in sets {
            excess -= set.evict_oldest(excess);
        }
    }

    /// Returns by how many the open sockets exceed `max_sockets`, counting one just accepted.
    ///
    /// `shard_load` is the number of connections in all shards.
    pub(crate) fn excess(&self, shard_load: usize) -> usize {
        // The field itself holds one of the references.
        let http_sockets = Arc::strong_count(&self.http_sockets) - 1;
        let open = shard_load.saturating_add(http_sockets).saturating_add(1);
        open.saturating_sub(self.shared.config.max_sockets)
    }

    /// Returns `true` if the server speaks TLS. The general runtime then owns each socket until
    /// its upgrade.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves HTTP over TLS on the general runtime.
    pub(crate) fn serve_tls(self: &Arc<Self>, socket: TcpStream, slot: PendingSlot, peer: Peer) {
        let (accept, slot) = (Arc::clone(self), Arc::new(slot));
        let counted = Arc::clone(&self.http_sockets);

        let serving = async move {
            let _counted = counted;
            let Some(tls) = &accept.tls else { return };

            let handshake = async { tls.accept(tokio::net::TcpStream::from_std(socket)?).await };
            let result = tokio::select! {
                result = timeout(TLS_TIMEOUT, handshake) => result,
                () = slot.evicted() => return debug!("evicted a pending TLS handshake"),
                // A peer that does not finish its handshake must not delay a stop.
                () = accept.shutdown.begun() => return,
            };

            match result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(socket) => {
                    let service = ConnectionService::new(Arc::clone(&accept), slot, peer);
                    accept.serve(HttpSocket::tls(socket), service).await;
                }
                Err(error) => {
                    accept.shared.metrics.refused("handshake");
                    debug!(%error, "a TLS handshake failed");
                }
            }
        };

        self.spawn(serving);
    }

    /// Serves HTTP on the general runtime, for a connection that a shard hands over.
    pub(crate) fn serve_http(self: &Arc<Self>, socket: TcpStream, opening: Opening) {
        let accept = Arc::clone(self);
        let (slot, peer, admitted, first_bytes) = opening.into_parts();
        let counted = Arc::clone(&self.http_sockets);
        self.spawn(async move {
            let _counted = counted;
            match HttpSocket::plain(socket, first_bytes) {
                Ok(socket) => {
                    let service = ConnectionService::new(Arc::clone(&accept), slot.into(), peer);
                    accept.serve(socket, service.admitted(admitted)).await;
                }
                Err(error) => debug!(%error, "cannot serve HTTP on a socket; it is closed"),
            }
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Shards call this on their own threads, outside any runtime.
        let _runtime = self.runtime.enter();
        self.shutdown.spawn(task);
    }

    /// Serves HTTP until the connection ends, is upgraded, or is evicted.
    async fn serve(&self, socket: HttpSocket, service: ConnectionService) {
        let slot = service.slot();
        let served = async {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.shared.config.header_timeout)
                .max_buf_size(MAX_HEAD_BYTES)
                .serve_connection(TokioIo::new(socket), service)
                .with_upgrades();
            tokio::pin!(connection);
            let result = tokio::select! {
                result = &mut connection => result,
                () = self.shutdown.begun() => {
                    connection.as_mut().graceful_shutdown();

                    // A request in progress gets more time: a user is waiting for its response.
                    let grace = if slot.is_busy() { DRAIN_BUSY } else { DRAIN_IDLE };
                    let Ok(result) = timeout(grace, connection).await else {
                        return debug!("cut an HTTP connection because the server is stopping");
                    };
                    result
                }
            };

            if let Err(error) = result {
                debug!(%error, "an HTTP connection ended with an error");
            }
        };

        // An eviction drops the connection's future, which closes its socket.
        tokio::select! {
            () = served => {}
            () = slot.evicted() => debug!("evicted a pending connection"),
        }
    }

    /// Counts a new WebSocket against the limit of its address.
    ///
    /// # Errors
    /// The 429 response, if the address has opened too many.
    fn admit(&self, peer: Peer) -> Result<(), Box<Response>> {
        self.limit.admit(peer.address, Instant::now()).map_err(|wait| {
            self.shared.metrics.refused("connections_per_ip");
            debug!(address = %peer.address, "too many connections from one address");
            Box::new(service::too_many(wait))
        })
    }
}

/// Returns the transport of an upgraded request, and the bytes that hyper read past its end.
pub(crate) fn into_transport(upgraded: Upgraded) -> Option<(Transport, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<HttpSocket>>().ok()?;
    match parts.io.into_inner().into_transport() {
        Ok(transport) => Some((transport, parts.read_buf)),
        Err(error) => {
            debug!(%error, "cannot take an upgraded socket from the runtime; it is closed");
            None
        }
    }
}

/// Returns `true` if the headers request an upgrade to a WebSocket.
fn is_upgrade(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}
