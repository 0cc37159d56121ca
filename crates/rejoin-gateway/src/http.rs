//! HTTP: the upgrade, the API, the health check, and pages behind them.

mod identity;
mod origin;
mod pages;
mod problem;
mod sessions;

use std::sync::Arc;

use axum::{Router, http::Uri, routing::get};

pub(crate) use identity::{Opener, Proofs, identify, identify_opener};
pub(crate) use origin::{is_allowed, is_own_origin};
pub(crate) use pages::Pages;
pub use pages::{FindPage, Page};
pub(crate) use problem::Problem;

use crate::{gateway::Shared, socket};

/// The routes of the gateway, and `pages` for everything else.
pub(crate) fn router(shared: Arc<Shared>, pages: Option<Pages>) -> Router {
    let own = Router::new()
        .route("/ws", get(socket::upgrade))
        .route("/ws/{profile}/{session}", get(socket::door::upgrade))
        .route("/healthz", get(async || "ok\n"))
        .route("/api/v1/sessions", get(sessions::list))
        .route("/api/v1/profiles", get(sessions::profiles))
        .with_state(shared);
    match pages {
        Some(pages) => own.fallback(async move |uri: Uri| pages.serve(&uri)),
        None => own,
    }
}
