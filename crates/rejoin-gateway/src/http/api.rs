//! The routes of the API, each with its OpenAPI description.

#![expect(unused_qualifications, reason = "the macros of utoipa write whole paths")]

mod account;
mod administration;
mod browser_sessions;
mod connections;
mod histories;
mod login;
mod revivals;
mod sessions;
mod terminals;
mod topics;
mod users;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, OriginalUri, Request},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use rejoin_protocol::ErrorCode;
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    http::{cors, document, idempotency, reference},
    problem::Problem,
    state::Shared,
};

/// The bytes by which a body may exceed a message: the fields around the message's data.
const BODY_EXTRA_BYTES: usize = 1024;

/// Returns the routes below `/api`.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    let (routes, openapi) = routes(shared);
    let document = document::finish(openapi, &shared.config.base_path);
    let reference = reference::page(&document);
    let json = document.to_string();
    let of_document = move || async move { document_response(json) };

    let own = Router::new()
        .route("/v1/openapi.json", get(of_document))
        .route("/docs", get(move || async move { reference.clone() }));
    let limit = shared.config.max_message_bytes + BODY_EXTRA_BYTES;
    let api = Router::new()
        .nest("/v1", routes)
        .merge(own)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed);

    // CORS is the outermost layer, so that pages of allowed origins can also read errors.
    api.layer(DefaultBodyLimit::max(limit))
        .layer(middleware::from_fn(forbid_caching))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), cors::allow_origins))
}

fn routes(shared: &Arc<Shared>) -> (Router, OpenApi) {
    let once = middleware::from_fn_with_state(Arc::clone(shared), idempotency::once);
    let repeatable = OpenApiRouter::new()
        .routes(routes!(sessions::list, sessions::create))
        .routes(routes!(sessions::get, sessions::close))
        .routes(routes!(revivals::revive))
        .routes(routes!(terminals::input))
        .routes(routes!(terminals::resize))
        .routes(routes!(terminals::signal))
        .routes(routes!(terminals::screen))
        .routes(routes!(terminals::history))
        .routes(routes!(sessions::connections))
        .routes(routes!(histories::events))
        .routes(routes!(sessions::profiles))
        .routes(routes!(topics::publish))
        .routes(routes!(topics::list))
        .routes(routes!(topics::history))
        .routes(routes!(topics::presence))
        .routes(routes!(connections::list))
        .routes(routes!(connections::get, connections::close))
        .routes(routes!(connections::emit))
        .routes(routes!(connections::broadcast))
        .routes(routes!(users::connections))
        .routes(routes!(users::device_connections))
        .routes(routes!(users::emit))
        .routes(routes!(users::emit_to_device))
        .routes(routes!(users::disconnect))
        .routes(routes!(users::presence))
        .routes(routes!(browser_sessions::list))
        .routes(routes!(browser_sessions::end))
        .routes(routes!(administration::revoke, administration::list))
        .routes(routes!(administration::lift_user))
        .routes(routes!(administration::lift_token))
        .routes(routes!(administration::stats))
        .route_layer(once);

    let routes = OpenApiRouter::with_openapi(document::base())
        .merge(repeatable)
        // Without idempotency keys: tickets and cookies are secrets, which must not be cached.
        .routes(routes!(account::ticket))
        .routes(routes!(login::log_in))
        .routes(routes!(login::check))
        .routes(routes!(login::log_out))
        .routes(routes!(account::me));
    let (router, openapi) = routes.split_for_parts();
    (router.with_state(Arc::clone(shared)), openapi)
}

/// Forbids caching: responses belong to one user and change at any time. Middleware.
async fn forbid_caching(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn not_found(OriginalUri(uri): OriginalUri) -> Problem {
    let detail = format!("there is no route `{}`; see /api/docs", uri.path());
    Problem::new(ErrorCode::NotFound, &detail)
}

async fn method_not_allowed() -> Problem {
    let detail = "the path does not support this method; `Allow` lists the supported ones";
    Problem::new(ErrorCode::MethodNotAllowed, detail)
}

fn document_response(json: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], json)
        .into_response()
}
