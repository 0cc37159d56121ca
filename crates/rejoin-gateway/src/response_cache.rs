//! Responses to requests with an idempotency key.

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use rejoin_core::IdempotencyCache;
use rejoin_protocol::{ErrorCode, RequestKey};

use crate::problem::Problem;

/// The maximum length of a cached body, in bytes. No response to a POST comes close.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The cached responses of each user, by the hash of the request's path and the key.
///
/// The hash bounds the memory, because clients choose the length of the path.
pub(crate) type ResponseCache = IdempotencyCache<([u8; 32], RequestKey), CachedResponse>;

/// The response to a request that was executed.
#[derive(Debug)]
pub(crate) struct CachedResponse {
    /// The hash of the request's body and the caller's rights.
    request: [u8; 32],
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl CachedResponse {
    /// Reads a response for the cache. `request` is the hash of the request.
    ///
    /// # Errors
    /// The response itself, if a retry may get a different one (429, 5xx).
    pub(crate) async fn read(request: [u8; 32], response: Response) -> Result<Self, Response> {
        // After 429 and 5xx, a retry may succeed. A cached response would prevent that.
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(response);
        }

        let (parts, body) = response.into_parts();
        let body = to_bytes(body, MAX_BODY_BYTES).await;
        let body = body.map_err(|_| Problem::from(ErrorCode::Internal).into_response())?;
        Ok(Self { request, status, headers: parts.headers, body })
    }

    /// Returns the approximate memory of the response, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
        headers + self.body.len()
    }

    /// Returns the response to a request with this hash, or `key_reused` if the hash differs.
    pub(crate) fn response(&self, request: [u8; 32]) -> Response {
        if self.request != request {
            let detail = "the key was used with another body or by a token with other rights; a \
                          new request needs a new key";
            return Problem::new(ErrorCode::KeyReused, detail).into_response();
        }
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        // Includes the headers: a retry needs `Location` as much as the first request did.
        *response.headers_mut() = self.headers.clone();
        response
    }
}
