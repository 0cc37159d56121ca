//! HTTP: the upgrade, the API, the health check, and pages behind them.

mod api;
mod cookie;
mod cors;
mod document;
mod extract;
mod health;
mod host;
mod idempotency;
mod identity;
mod origin;
mod pages;
mod paging;
mod problem;
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

pub(crate) use extract::Caller;
pub(crate) use host::{AllowedHosts, check_host};
pub(crate) use idempotency::Answers;
pub(crate) use identity::{AuthOutcome, UrlCredentials, identify, identify_upgrade};
use identity::{bearer, check_own_page};
pub(crate) use origin::{is_allowed, is_own_origin};
pub(crate) use pages::Pages;
pub use pages::{FindPage, Page};
pub(crate) use problem::Problem;

use crate::{
    endpoint::{self, Upgrades},
    gateway::Shared,
};

/// The routes of the gateway below its base path, and `pages` for everything else there.
pub(crate) fn router(upgrades: Upgrades, pages: Option<Pages>) -> Router {
    let shared = &Arc::clone(&upgrades.shared);
    let sockets = Router::new()
        .route("/ws", get(endpoint::upgrade))
        .route("/ws/{profile}/{session}", get(endpoint::upgrade_raw))
        .with_state(upgrades);
    let own = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
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
    let routes = if base == "/" { own } else { below(own, base, show) };
    routes
        .layer(middleware::from_fn_with_state(Arc::clone(shared), known_host))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), count))
}

/// Puts all below the base; the root, and the base without its slash, lead there.
fn below<S>(router: Router, base: String, show: S) -> Router
where
    S: Fn(&str, &Method, &Uri, &HeaderMap) -> Response + Clone + Send + Sync + 'static,
{
    let bare = base.trim_end_matches('/').to_owned();
    let shown = base.clone();
    // What is nested has no path for the base itself.
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

/// Answers requests for hosts that are allowed only.
async fn known_host(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match check_host(&shared, &parts) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

async fn count(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await.into_response();
    shared.hub.metrics().http_request(response.status().as_u16());
    response
}
