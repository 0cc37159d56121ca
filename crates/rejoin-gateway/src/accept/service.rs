//! The HTTP service of one connection: what happens to each request before the router.

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
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::{Request, body::Incoming, service::Service};
use hyper_util::service::TowerToHyperService;
use rejoin_protocol::ErrorCode;
use tracing::debug;

use crate::{
    accept::{Accept, body::TimedBody, pending::PendingSlot},
    peer::Peer,
    problem::Problem,
};

/// Serves the requests of one socket.
pub(super) struct ConnectionService {
    router: TowerToHyperService<Router>,
    accept: Arc<Accept>,
    slot: Arc<PendingSlot>,
    /// The socket's other end.
    socket: Peer,
    /// The first request was counted by the address limit before it came here.
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

    /// Does not count the first request: it was counted already.
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
        // The path only: what stands after it may be a secret.
        let (address, path) = (peer.address, request.uri().path());
        debug!(%address, is_secure = peer.is_secure, method = %request.method(), path, "asked");
        let admitted = self.admitted.swap(false, Ordering::Relaxed);
        if asks_for_websocket(request.headers())
            && !admitted
            && let Err(refusal) = self.accept.admit(peer)
        {
            return Box::pin(std::future::ready(Ok(*refusal)));
        }
        request.extensions_mut().insert(peer);
        let Accept { shared, shutdown, .. } = &*self.accept;
        let timeout = shared.config.body_timeout;
        let busy = self.slot.busy();
        let timed = |body| TimedBody::new(body, timeout, shutdown);
        let response = self.router.call(request.map(timed));
        Box::pin(async move {
            let response = response.await;
            drop(busy);
            response
        })
    }
}

pub(super) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

pub(super) fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let detail = format!("too many new connections of this address; try again in {seconds} s");
    let problem = Problem::new(ErrorCode::RateLimited, &detail);
    let mut response = problem.with_status(StatusCode::TOO_MANY_REQUESTS).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}
