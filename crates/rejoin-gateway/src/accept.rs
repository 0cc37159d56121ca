//! The accept loop: sockets to HTTP.

mod address;
mod body;
mod desk;
mod lobby;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::Router;
use bytes::Bytes;
use hyper::{server::conn::http1, upgrade::Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use rejoin_core::Shutdown;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tracing::{debug, warn};

use crate::{
    accept::{
        address::AddressLimit,
        desk::Desk,
        lobby::{Lobby, Seat},
    },
    gateway::GatewayConfig,
    net::Socket,
    peer::{Peer, TrustedProxies},
    tls::{Tls, relay},
};

/// How long a client may take for the TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send the head of a request, the wait for it included.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be silent before TCP asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The head of a request at most, in bytes; hyper asks for 8 KiB or more.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How long to wait when the process has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is done with whoever connects.
#[derive(Debug)]
pub(crate) struct Accept {
    router: Router,
    tls: Option<Tls>,
    trusted_proxies: TrustedProxies,
    lobby: Arc<Lobby>,
    limit: AddressLimit,
    counts: Counts,
    shutdown: Shutdown,
}

/// What was refused.
#[derive(Debug, Default)]
struct Counts {
    /// WebSockets, because their address had made too many.
    limited: AtomicU64,
    /// TLS handshakes that failed or took too long.
    handshakes_failed: AtomicU64,
}

impl Accept {
    pub(crate) fn new(config: &GatewayConfig, router: Router, shutdown: &Shutdown) -> Self {
        Self {
            router,
            tls: config.tls.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            lobby: Arc::new(Lobby::new(config.max_handshakes)),
            limit: AddressLimit::new(config.connections_per_address),
            counts: Counts::default(),
            shutdown: shutdown.clone(),
        }
    }
}

/// Serves all that connects, until the shutdown begins.
pub(crate) async fn run(listener: TcpListener, accept: Accept) -> io::Result<()> {
    let accept = Arc::new(accept);
    if let Some(tls) = &accept.tls {
        tls.watch(&accept.shutdown);
    }
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = accept.shutdown.begun() => return Ok(()),
        };
        match accepted {
            Ok((socket, address)) => {
                let peer = Peer { address: address.ip(), is_secure: accept.tls.is_some() };
                let seat = accept.lobby.enter();
                accept.shutdown.spawn(welcome(Arc::clone(&accept), socket, seat, peer));
            }
            Err(error) if is_of_one_client(&error) => debug!(%error, "a client went away"),
            Err(error) => {
                warn!(%error, "cannot accept connections, trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves a socket until it ends, becomes a WebSocket, or has to make room.
async fn welcome(accept: Arc<Accept>, socket: TcpStream, seat: Seat, peer: Peer) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let set = socket.set_nodelay(true);
    if let Err(error) = set.and_then(|()| SockRef::from(&socket).set_tcp_keepalive(&keepalive)) {
        debug!(%error, "a socket without TCP_NODELAY or keep-alive");
    }
    let seat = Arc::new(seat);
    let served = async {
        let desk = Desk::new(Arc::clone(&accept), Arc::clone(&seat), peer);
        match &accept.tls {
            None => {
                serve(socket.into(), desk, &accept.shutdown).await;
            }
            Some(tls) => serve_tls(socket, tls, desk, &accept).await,
        }
    };
    tokio::select! {
        () = served => {}
        () = seat.evicted() => debug!(address = %peer.address, "a socket had to make room"),
    }
}

/// Serves TLS; the relay belongs to the lobby's guest until the socket is upgraded.
async fn serve_tls(socket: TcpStream, tls: &Tls, desk: Desk, accept: &Accept) {
    let result = match timeout(TLS_TIMEOUT, tls.accept(socket)).await {
        Ok(Ok(tls)) => relay(tls),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    let (near, relay) = match result {
        Ok(relay) => relay,
        Err(error) => {
            accept.counts.handshakes_failed.fetch_add(1, Ordering::Relaxed);
            debug!(%error, "a TLS handshake failed");
            return;
        }
    };
    let mut relay = Box::pin(relay);
    let serving = serve(near.into(), desk, &accept.shutdown);
    tokio::pin!(serving);
    tokio::select! {
        upgraded = &mut serving => {
            if upgraded {
                accept.shutdown.spawn(relay);
            } else {
                relay.await;
            }
        }
        () = &mut relay => { serving.await; }
    }
}

/// Serves HTTP until it ends; returns whether the socket was upgraded.
async fn serve(socket: Socket, desk: Desk, shutdown: &Shutdown) -> bool {
    let upgraded = desk.upgraded();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), desk)
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = shutdown.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%error, "an HTTP connection ended badly");
    }
    upgraded.load(Ordering::Relaxed)
}

/// The socket of a request that was upgraded, and what has been read from it already.
pub(crate) fn take(upgraded: Upgraded) -> Option<(Socket, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<Socket>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
