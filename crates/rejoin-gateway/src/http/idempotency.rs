//! Requests that may be repeated: done once, and answered alike each time.
//!
//! As in draft-ietf-httpapi-idempotency-key-header. What failed in a way that may pass (429, 5xx)
//! is not remembered: its retry is tried.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use rejoin_core::IdempotencyCache;
use rejoin_protocol::{ErrorCode, RequestKey};

use crate::{
    gateway::Shared,
    http::{
        Problem,
        extract::{Caller, body},
    },
};

/// What carries the key.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest answer that is remembered, in bytes; no answer to a POST comes near.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Answers by the hash of the path, whose length is the client's choice, and the key.
pub(crate) type Answers = IdempotencyCache<([u8; 32], RequestKey), Done>;

/// A request that was done, and its answer.
#[derive(Debug)]
pub(crate) struct Done {
    /// The hash of the body and the caller's rights: others make another request.
    request: [u8; 32],
    status: StatusCode,
    headers: HeaderMap,
    answer: Bytes,
}

/// Does a POST with a key once.
pub(super) async fn once(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(key) = request.headers().get(KEY).filter(|_| request.method() == Method::POST) else {
        return next.run(request).await;
    };
    match read_key(key) {
        Ok(key) => answer(shared, key, request, next).await.unwrap_or_else(|error| error),
        Err(problem) => problem.into_response(),
    }
}

async fn answer(
    shared: Arc<Shared>,
    key: RequestKey,
    request: Request,
    next: Next,
) -> Result<Response, Response> {
    let (mut parts, rest) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &shared).await;
    let Caller { identity, .. } = caller.map_err(IntoResponse::into_response)?;
    let path = hash(&[parts.uri.path().as_bytes()]);
    let head = parts.clone();
    let bytes = body(Request::from_parts(parts, rest), &shared).await;
    let bytes = bytes.map_err(IntoResponse::into_response)?;
    // An answer is for those who could have caused it.
    let rights = serde_json::to_vec(&(&identity.caps, &identity.device));
    let request = hash(&[&rights.expect("rights have text keys"), &bytes]);
    let cell = shared.answers.result(&identity.user, (path, key.clone())).map_err(|error| {
        shared.hub.metrics().rate_limited("keys");
        Problem::new(ErrorCode::RateLimited, &error.to_string()).into_response()
    })?;
    let is_repeated = cell.initialized();
    // In a task of its own: who goes away and comes back finds it done, not half done.
    let answers = Arc::clone(&shared);
    let task = async move {
        let done = async || {
            let again = Request::from_parts(head, Body::from(bytes));
            let done = remember(request, next.run(again).await).await?;
            answers.answers.charge(&identity.user, (path, key), done.bytes());
            Ok(done)
        };
        cell.get_or_try_init(done).await.map(|done| done.response(request))
    };
    let response = shared.hub.shutdown().spawn(task).await;
    let mut response =
        response.map_err(|_| Problem::from(ErrorCode::Internal).into_response())??;
    if is_repeated && response.status() != StatusCode::UNPROCESSABLE_ENTITY {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Keeps an answer; one that may be another the next time is handed back.
async fn remember(request: [u8; 32], response: Response) -> Result<Done, Response> {
    let status = response.status();
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        return Err(response);
    }
    let (parts, answer) = response.into_parts();
    let answer = to_bytes(answer, MAX_ANSWER_BYTES).await;
    let answer = answer.map_err(|_| Problem::from(ErrorCode::Internal).into_response())?;
    Ok(Done { request, status, headers: parts.headers, answer })
}

impl Done {
    /// Bytes that it takes.
    fn bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
        headers + self.answer.len()
    }

    /// The answer for this request.
    fn response(&self, request: [u8; 32]) -> Response {
        if self.request != request {
            let detail = "the key was used with another body or by a token with other rights; a \
                          new request needs a new key";
            return Problem::new(ErrorCode::KeyReused, detail).into_response();
        }
        let mut response = Response::new(Body::from(self.answer.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

/// SHA-256 of these parts, each behind its length.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The key, as a structured field has it (`"key"`), or as it is.
fn read_key(value: &HeaderValue) -> Result<RequestKey, Problem> {
    let key = value.to_str().ok().and_then(|text| {
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let key = inner.unwrap_or(text);
        let is_plain = key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        RequestKey::new(key).ok().filter(|_| is_plain)
    });
    key.ok_or_else(|| {
        let detail = "`Idempotency-Key` must be 1 to 128 visible ASCII characters, no `\"` among \
                      them; the whole may stand in `\"`";
        Problem::new(ErrorCode::InvalidField, detail)
    })
}
