//! Idempotency keys: a repeated request is executed once and gets the same response.
//!
//! Follows draft-ietf-httpapi-idempotency-key-header. Responses that may change (429, 5xx) are not
//! cached, so a retry is executed again.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use axum::{
    body::Body,
    extract::{FromRequestParts, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use rejoin_protocol::{ErrorCode, RequestKey};

use crate::{
    credentials::Caller, http::extract::body, problem::Problem, response_cache::CachedResponse,
    state::Shared,
};

/// The request header with the key.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The response header that marks a cached response.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Executes a POST with a key once. Middleware.
pub(super) async fn once(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(key) = request.headers().get(KEY).filter(|_| request.method() == Method::POST) else {
        return next.run(request).await;
    };
    match parse_key(key) {
        Ok(key) => execute_once(shared, key, request, next).await.unwrap_or_else(|error| error),
        Err(problem) => problem.into_response(),
    }
}

async fn execute_once(
    shared: Arc<Shared>,
    key: RequestKey,
    request: Request,
    next: Next,
) -> Result<Response, Response> {
    let (mut parts, rest) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &shared).await;
    let Caller { identity, .. } = caller.map_err(IntoResponse::into_response)?;
    // The query is left out: no POST route of the API has one.
    let path = hash(&[parts.uri.path().as_bytes()]);
    // A route that keeps results longer than this cache may use the key as well.
    parts.extensions.insert(key.clone());
    let head = parts.clone();
    let bytes = body(Request::from_parts(parts, rest), &shared).await;
    let bytes = bytes.map_err(IntoResponse::into_response)?;

    // The rights count as part of the request: a token with fewer rights must not read a response
    // that it could not have caused.
    let rights = serde_json::to_vec(&(&identity.caps, &identity.device));
    let request = hash(&[&rights.expect("rights have text keys"), &bytes]);
    // One cell per key: concurrent retries wait for the first request.
    let cell = shared.responses.result(&identity.user, (path, key.clone())).map_err(|error| {
        shared.hub.metrics().rate_limited("keys");
        Problem::new(ErrorCode::RateLimited, &error.to_string()).into_response()
    })?;
    let is_repeated = cell.initialized();

    // Runs in its own task: if the client disconnects, the request still completes, and the retry
    // gets its response.
    let cache = Arc::clone(&shared);
    let task = async move {
        let execute = async || {
            let again = Request::from_parts(head, Body::from(bytes));
            let cached = CachedResponse::read(request, next.run(again).await).await?;
            // The bytes count towards the user's quota, which bounds the memory of the cache.
            cache.responses.charge(&identity.user, (path, key), cached.bytes());
            Ok(cached)
        };
        cell.get_or_try_init(execute).await.map(|cached| cached.response(request))
    };
    let response = shared.hub.shutdown().spawn(task).await;
    let mut response =
        response.map_err(|_| Problem::from(ErrorCode::Internal).into_response())??;

    if is_repeated && response.status() != StatusCode::UNPROCESSABLE_ENTITY {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Returns the SHA-256 hash of these parts, each preceded by its length.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Parses a key: a structured field (`"key"`), or the bare text.
fn parse_key(value: &HeaderValue) -> Result<RequestKey, Problem> {
    let key = value.to_str().ok().and_then(|text| {
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let key = inner.unwrap_or(text);
        let is_plain = key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        RequestKey::new(key).ok().filter(|_| is_plain)
    });
    key.ok_or_else(|| {
        let detail = "`Idempotency-Key` must be 1 to 128 visible ASCII characters without `\"`; \
                      the whole key may be in double quotes";
        Problem::new(ErrorCode::InvalidField, detail)
    })
}
