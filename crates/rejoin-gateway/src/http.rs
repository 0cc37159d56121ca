//! HTTP: the upgrade, the API, the health check, and pages behind them.

mod api;
mod cors;
mod document;
mod extract;
mod health;
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

pub(crate) use idempotency::Answers;
pub(crate) use identity::{Opener, Proofs, identify, identify_opener};
use identity::{bearer, check_own_page};
pub(crate) use origin::{is_allowed, is_own_origin};
pub(crate) use pages::Pages;
pub use pages::{FindPage, Page};
pub(crate) use problem::Problem;

use crate::{gateway::Shared, socket};

/// The routes of the gateway below its base path, and `pages` for everything else there.
pub(crate) fn router(shared: &Arc<Shared>, pages: Option<Pages>) -> Router {
    let own = Router::new()
        .route("/ws", get(socket::upgrade))
        .route("/ws/{profile}/{session}", get(socket::door::upgrade))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .with_state(Arc::clone(shared))
        .nest("/api", api::router(shared));
    let base = shared.config.base_path.clone();
    let below = match pages {
        Some(pages) => {
            let base = base.clone();
            own.fallback(async move |method: Method, uri: Uri, headers: HeaderMap| {
                pages.serve(&base, &method, uri.path(), &headers)
            })
        }
        None => own.fallback(not_found),
    };
    let count = middleware::from_fn_with_state(Arc::clone(shared), count);
    below_base(below, base).layer(count)
}

/// Puts all below the base; the root, and the base without its slash, lead there.
fn below_base(router: Router, base: String) -> Router {
    if base == "/" {
        return router;
    }
    let bare = base.trim_end_matches('/').to_owned();
    let router = Router::new().nest(&bare, router).fallback(not_found);
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

async fn count(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await.into_response();
    let status = [("status", response.status().as_u16())];
    shared.hub.metrics().http_requests.get_or_create(&status).inc();
    response
}
