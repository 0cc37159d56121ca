//! Cross-origin requests to the API: with a bearer token, never with a cookie.
//!
//! Does not use `tower-http`, which answers every `OPTIONS` request itself, even if it is not a
//! preflight, and reveals the allowed methods to origins that are not allowed.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::state::Shared;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
const HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key");
/// The response headers that a page may read in addition to the safelisted ones.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("idempotent-replayed, location, retry-after, www-authenticate");
/// The time for which a browser caches a preflight, in seconds: the maximum that any browser uses.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Answers preflights, and allows configured origins to read responses (Fetch standard, §3.2).
pub(super) async fn allow_origins(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let origin = origin.filter(|origin| is_listed(origin, &shared.config.allowed_origins));
    let is_preflight = is_preflight(request.method(), request.headers());
    let mut response = match is_preflight {
        true => StatusCode::NO_CONTENT.into_response(),
        false => next.run(request).await,
    };

    let headers = response.headers_mut();
    // Always set: a cache must not serve the response for one origin to another.
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let Some(origin) = origin else { return response };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if is_preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    } else {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}

fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn is_listed(origin: &HeaderValue, allowed: &[String]) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}
