//! The accept loop: sockets to HTTP.

use std::{io, time::Duration};

use axum::Router;
use bytes::Bytes;
use hyper::{server::conn::http1, upgrade::Upgraded};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rejoin_core::Shutdown;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

use crate::net::Socket;

/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be silent before TCP asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The head of a request at most, in bytes; hyper asks for 8 KiB or more.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How long to wait when the process has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on all that connects, until the shutdown begins.
pub(crate) async fn run(
    listener: TcpListener,
    router: Router,
    shutdown: &Shutdown,
) -> io::Result<()> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.begun() => return Ok(()),
        };
        match accepted {
            Ok((socket, _)) => {
                shutdown.spawn(serve(socket, router.clone(), shutdown.clone()));
            }
            Err(error) if is_of_one_client(&error) => debug!(%error, "a client went away"),
            Err(error) => {
                warn!(%error, "cannot accept connections, trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(socket: TcpStream, router: Router, shutdown: Shutdown) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let set = socket.set_nodelay(true);
    if let Err(error) = set.and_then(|()| SockRef::from(&socket).set_tcp_keepalive(&keepalive)) {
        debug!(%error, "a socket without TCP_NODELAY or keep-alive");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Socket::from(socket)), TowerToHyperService::new(router))
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
