//! What becomes of an accepted socket: a WebSocket at once, or HTTP.

mod address;
mod body;
mod http_socket;
mod pending;
mod request;
mod service;

use std::{io, net::TcpStream, sync::Arc, time::Duration};

use axum::{Router, response::Response};
use bytes::Bytes;
use hyper::{server::conn::http1, upgrade::Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use rejoin_core::Shutdown;
use tokio::time::{Instant, timeout};
use tracing::debug;

pub(crate) use body::Stopping;
pub(crate) use pending::{PendingConnections, PendingSlot};
use request::MAX_HEAD_BYTES;
pub(crate) use request::{Opening, Outcome};

use crate::{
    accept::{address::AddressLimit, http_socket::HttpSocket, service::ConnectionService},
    config::GatewayConfig,
    peer::{Peer, TrustedProxies},
    state::Shared,
    tls::Tls,
    transport::Transport,
};

/// How long a client may take for the TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take while the server stops; then its socket is cut.
const DRAIN_ANSWER: Duration = Duration::from_secs(3);
/// The same where no request is being served: what is left of an answer, or a request that has
/// not arrived.
const DRAIN_REST: Duration = Duration::from_secs(1);

/// What all accepted sockets share.
#[derive(Debug)]
pub(crate) struct Accept {
    shared: Arc<Shared>,
    router: Router,
    /// The path at which the shards upgrade a first request themselves.
    websocket_path: String,
    tls: Option<Tls>,
    trusted_proxies: TrustedProxies,
    pending: Arc<PendingConnections>,
    limit: AddressLimit,
    shutdown: Shutdown,
    /// Where HTTP is served.
    runtime: tokio::runtime::Handle,
}

impl Accept {
    /// Called within the runtime that is to serve HTTP.
    pub(crate) fn new(shared: &Arc<Shared>, router: Router) -> Self {
        let config: &GatewayConfig = &shared.config;
        let metrics = Arc::clone(shared.hub.metrics());
        if let Some(tls) = &config.tls {
            tls.watch(&shared.shutdown);
        }
        Self {
            shared: Arc::clone(shared),
            router,
            websocket_path: format!("{}ws", config.base_path),
            tls: config.tls.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            pending: Arc::new(PendingConnections::new(config.max_handshakes, metrics)),
            limit: AddressLimit::new(config.connections_per_address),
            shutdown: shared.shutdown.clone(),
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// Takes a slot for a new connection.
    pub(crate) fn enter(&self) -> PendingSlot {
        self.pending.enter()
    }

    /// Makes room where so many sockets are open, or the process has no descriptors left.
    pub(crate) fn make_room(&self, excess: usize) {
        let evicted = self.pending.make_room(excess);
        self.shared.unauthenticated.make_room(excess - evicted);
    }

    /// By how many the sockets exceed what may be open, if so many belong to shards.
    pub(crate) fn excess(&self, of_shards: usize) -> usize {
        let open = of_shards.saturating_add(self.pending.len());
        open.saturating_sub(self.shared.config.max_sockets)
    }

    /// Whether the sockets speak TLS: then the general runtime has them until they are upgraded.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves TLS, and HTTP over it, on the general runtime.
    pub(crate) fn serve_tls(self: &Arc<Self>, socket: TcpStream, slot: PendingSlot, peer: Peer) {
        let (accept, slot) = (Arc::clone(self), Arc::new(slot));
        let serving = async move {
            let Some(tls) = &accept.tls else { return };
            let handshake = async { tls.accept(tokio::net::TcpStream::from_std(socket)?).await };
            let result = tokio::select! {
                result = timeout(TLS_TIMEOUT, handshake) => result,
                () = slot.evicted() => return debug!("a pending TLS handshake is evicted"),
                // An unfinished handshake delays no stop.
                () = accept.shutdown.begun() => return,
            };
            match result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(socket) => {
                    let service = ConnectionService::new(Arc::clone(&accept), slot, peer);
                    accept.serve(HttpSocket::tls(socket), service).await;
                }
                Err(error) => {
                    accept.shared.hub.metrics().refused("handshake");
                    debug!(%error, "a TLS handshake failed");
                }
            }
        };
        self.spawn(serving);
    }

    /// Serves HTTP on the general runtime. `first_bytes` were read already.
    pub(crate) fn serve_http(self: &Arc<Self>, socket: TcpStream, opening: Opening) {
        let accept = Arc::clone(self);
        let (slot, peer, admitted, first_bytes) = opening.into_parts();
        self.spawn(async move {
            match HttpSocket::plain(socket, first_bytes) {
                Ok(socket) => {
                    let service = ConnectionService::new(Arc::clone(&accept), slot.into(), peer);
                    accept.serve(socket, service.admitted(admitted)).await;
                }
                Err(error) => debug!(%error, "a socket cannot be served"),
            }
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let _runtime = self.runtime.enter();
        self.shutdown.spawn(task);
    }

    /// Serves HTTP until it ends, is upgraded, or has to make room.
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
                    let grace = if slot.is_busy() { DRAIN_ANSWER } else { DRAIN_REST };
                    let Ok(result) = timeout(grace, connection).await else {
                        return debug!("an HTTP connection is cut because the server stops");
                    };
                    result
                }
            };
            if let Err(error) = result {
                debug!(%error, "an HTTP connection ended badly");
            }
        };
        tokio::select! {
            () = served => {}
            () = slot.evicted() => debug!("a pending connection is evicted"),
        }
    }

    /// Counts a new WebSocket of an address.
    ///
    /// # Errors
    /// The answer, if the address has made too many.
    fn admit(&self, peer: Peer) -> Result<(), Box<Response>> {
        self.limit.admit(peer.address, Instant::now()).map_err(|wait| {
            self.shared.hub.metrics().refused("connections_per_ip");
            debug!(address = %peer.address, "too many connections of one address");
            Box::new(service::too_many(wait))
        })
    }
}

/// Returns the transport of a request that was upgraded, and the bytes that were read from it.
pub(crate) fn take(upgraded: Upgraded) -> Option<(Transport, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<HttpSocket>>().ok()?;
    match parts.io.into_inner().into_transport() {
        Ok(transport) => Some((transport, parts.read_buf)),
        Err(error) => {
            debug!(%error, "an upgraded socket cannot be used");
            None
        }
    }
}
