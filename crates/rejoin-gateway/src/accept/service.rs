//! The HTTP service of one connection: applies limits and finds client addresses before routing.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::{Request, body::Incoming, service::Service};
use hyper_util::service::TowerToHyperService;
use rejoin_protocol::ErrorCode;
use tracing::debug;

use crate::{
    accept::{Accept, body::TimedBody, is_upgrade},
    peer::Peer,
    pending::PendingSlot,
    problem::Problem,
};

/// Serves the requests of one socket.
pub(super) struct ConnectionService {
    router: TowerToHyperService<Router>,
    accept: Arc<Accept>,
    slot: Arc<PendingSlot>,
    /// The other end of the socket, which may be a proxy.
    socket: Peer,
    /// The address limit has already counted the next request, which is then the first one.
    admitted: AtomicBool,
}

impl ConnectionService {
    pub(super) fn new(accept: Arc<Accept>, slot: Arc<PendingSlot>, socket: Peer) -> Self {
        let router = TowerToHyperService::new(accept.router.clone());
        Self { router, accept, slot, socket, admitted: AtomicBool::new(false) }
    }

    pub(super) fn slot(&self) -> Arc<PendingSlot> {
        Arc::clone(&self.slot)
    }

    /// Sets whether a shard has counted the first request.
    pub(super) fn admitted(self, admitted: bool) -> Self {
        Self { admitted: AtomicBool::new(admitted), ..self }
    }
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let peer = self.accept.trusted_proxies.client(self.socket, request.headers());

        // Logs the path without the query, which may contain a ticket or a token.
        let (address, path) = (peer.address, request.uri().path());
        debug!(%address, is_secure = peer.is_secure, method = %request.method(), path, "request");

        // Only the request that a shard counted is exempt. Later requests on this connection count.
        let admitted = self.admitted.swap(false, Ordering::Relaxed);
        if is_upgrade(request.headers())
            && !admitted
            && let Err(refusal) = self.accept.admit(peer)
        {
            return Box::pin(std::future::ready(Ok(*refusal)));
        }
        request.extensions_mut().insert(peer);

        let Accept { shared, shutdown, .. } = &*self.accept;
        let timeout = shared.config.body_timeout;
        let busy = self.slot.mark_busy();
        let timed = |body| TimedBody::new(body, timeout, shutdown);
        let response = self.router.call(request.map(timed));
        Box::pin(async move {
            let response = response.await;
            // Dropped before the body is sent: a client that does not read it must be evictable.
            drop(busy);
            response
        })
    }
}

/// Returns the 429 response for an address that must wait.
pub(super) fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let detail = format!("too many new connections from this address; try again in {seconds} s");
    let problem = Problem::new(ErrorCode::RateLimited, &detail);
    let mut response = problem.with_status(StatusCode::TOO_MANY_REQUESTS).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}
