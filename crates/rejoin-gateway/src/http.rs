//! HTTP: the upgrade, the API, the health check, and pages behind them.

mod origin;
mod pages;
mod problem;
mod sessions;

use std::sync::Arc;

use axum::{
    Router,
    http::{HeaderMap, Uri, header},
    routing::get,
};
use rejoin_core::Identity;
use rejoin_protocol::ErrorCode;

pub(crate) use origin::is_allowed;
pub(crate) use pages::Pages;
pub use pages::{FindPage, Page};
pub(crate) use problem::Problem;

use crate::{gateway::Shared, socket};

/// The routes of the gateway, and `pages` for everything else.
pub(crate) fn router(shared: Arc<Shared>, pages: Option<Pages>) -> Router {
    let own = Router::new()
        .route("/ws", get(socket::upgrade))
        .route("/healthz", get(async || "ok\n"))
        .route("/api/v1/sessions", get(sessions::list))
        .route("/api/v1/profiles", get(sessions::profiles))
        .with_state(shared);
    match pages {
        Some(pages) => own.fallback(async move |uri: Uri| pages.serve(&uri)),
        None => own,
    }
}

/// The token of `Authorization: Bearer`, if there is one (RFC 6750 §2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Who sends a request.
pub(crate) async fn identify(shared: &Shared, headers: &HeaderMap) -> Result<Identity, Problem> {
    let Some(token) = bearer(headers) else {
        return shared.anonymous().ok_or_else(|| {
            Problem::new(ErrorCode::NotAuthenticated, "send `Authorization: Bearer TOKEN`")
        });
    };
    let verified = shared.verify(token).await;
    verified.map_err(|error| Problem::new(error.codes().0, &error.to_string()))
}
