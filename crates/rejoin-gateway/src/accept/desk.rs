//! What happens to each request before the router sees it.

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
use tokio::time::Instant;
use tracing::debug;

use crate::{
    accept::{Accept, body::TimedBody, lobby::Seat},
    http::Problem,
    peer::Peer,
};

/// Serves the requests of one socket.
pub(super) struct Desk {
    router: TowerToHyperService<Router>,
    accept: Arc<Accept>,
    seat: Arc<Seat>,
    /// The socket's other end.
    socket: Peer,
    /// Set when a request was upgraded: it was the last one.
    upgraded: Arc<AtomicBool>,
}

impl Desk {
    pub(super) fn new(accept: Arc<Accept>, seat: Arc<Seat>, socket: Peer) -> Self {
        let router = TowerToHyperService::new(accept.router.clone());
        Self { router, accept, seat, socket, upgraded: Arc::default() }
    }

    /// Tells, once the socket is served, whether it was upgraded.
    pub(super) fn upgraded(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.upgraded)
    }
}

impl Service<Request<Incoming>> for Desk {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let peer = self.accept.trusted_proxies.client(self.socket, request.headers());
        // The path only: what stands after it may be a secret.
        let (address, path) = (peer.address, request.uri().path());
        debug!(%address, is_secure = peer.is_secure, method = %request.method(), path, "asked");
        if asks_for_websocket(request.headers())
            && let Err(wait) = self.accept.limit.admit(peer.address, Instant::now())
        {
            self.accept.counts.limited.fetch_add(1, Ordering::Relaxed);
            debug!(address = %peer.address, "too many connections of one address");
            return Box::pin(std::future::ready(Ok(too_many(wait))));
        }
        request.extensions_mut().insert(peer);
        let busy = self.seat.busy();
        let response = self.router.call(request.map(TimedBody::new));
        let upgraded = Arc::clone(&self.upgraded);
        Box::pin(async move {
            let response = response.await?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                upgraded.store(true, Ordering::Relaxed);
            }
            drop(busy);
            Ok(response)
        })
    }
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let detail = format!("too many new connections of this address; try again in {seconds} s");
    let problem = Problem::new(ErrorCode::RateLimited, &detail);
    let mut response = problem.with_status(StatusCode::TOO_MANY_REQUESTS).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}
