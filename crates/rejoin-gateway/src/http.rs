//! The HTTP routes: WebSocket upgrades, the API, health checks and pages.

mod api;
mod cors;
mod document;
mod extract;
mod health;
mod idempotency;
mod pages;
mod paging;
mod reference;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, Method, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use rejoin_protocol::ErrorCode;

pub(crate) use pages::Pages;
pub use pages::{FindPage, Page};

use crate::{
    endpoint::{self, Upgrades},
    problem::Problem,
    state::Shared,
};

/// Returns the routes of the gateway below its base path, with `pages` for all other paths.
pub(crate) fn router(upgrades: Upgrades, pages: Option<Pages>) -> Router {
    let shared = &Arc::clone(&upgrades.shared);
    let sockets = Router::new()
        .route("/ws", get(endpoint::upgrade))
        .route("/ws/{profile}/{session}", get(endpoint::upgrade_raw))
        .with_state(upgrades);
    let own = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .with_state(Arc::clone(shared))
        .nest("/api", api::router(shared))
        .merge(sockets);

    let base = shared.config.base_path.clone();
    let show = move |base: &str, method: &Method, uri: &Uri, headers: &HeaderMap| match pages {
        Some(pages) => pages.serve(base, method, uri.path(), headers),
        None => Problem::from(ErrorCode::NotFound).into_response(),
    };
    let shown = base.clone();
    let own = own.fallback(async move |method: Method, uri: Uri, headers: HeaderMap| {
        show(&shown, &method, &uri, &headers)
    });

    let routes = if base == "/" { own } else { nest_below(own, base, show) };
    routes
        // The last layer is the outermost, so refusals of the host check are counted, too.
        .layer(middleware::from_fn_with_state(Arc::clone(shared), check_host))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), count))
}

/// Nests the routes below the base path. Both the root and the base path without its trailing
/// slash redirect to it.
fn nest_below<S>(router: Router, base: String, show: S) -> Router
where
    S: Fn(&str, &Method, &Uri, &HeaderMap) -> Response + Clone + Send + Sync + 'static,
{
    let bare = base.trim_end_matches('/').to_owned();
    let shown = base.clone();
    // A nested router does not match the base path itself.
    let index = async move |method: Method, headers: HeaderMap| {
        show(&shown, &method, &Uri::from_static("/"), &headers)
    };

    let router = Router::new().route(&base, get(index)).nest(&bare, router).fallback(not_found);
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let path = request.uri().path();
        let redirect = (path == "/" || path == bare).then(|| Redirect::temporary(&base));
        async move {
            match redirect {
                Some(redirect) => redirect.into_response(),
                None => next.run(request).await,
            }
        }
    }))
}

async fn not_found() -> Problem {
    Problem::from(ErrorCode::NotFound)
}

/// Refuses requests whose `Host` is not allowed. Middleware.
async fn check_host(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match shared.hosts.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Counts requests by the status of their responses. Middleware.
async fn count(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await.into_response();
    shared.metrics.http_request(response.status().as_u16());
    response
}
