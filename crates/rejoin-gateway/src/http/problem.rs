//! Errors as problem details (RFC 9457).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use rejoin_protocol::ErrorCode;
use serde_json::json;

/// A refused request.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: ErrorCode,
    detail: String,
}

impl Problem {
    /// A problem with the status that its code stands for.
    pub(crate) fn new(code: ErrorCode, detail: &str) -> Self {
        let status = match code.row().number {
            200..=299 => StatusCode::UNAUTHORIZED,
            300..=399 => StatusCode::FORBIDDEN,
            400..=499 => StatusCode::NOT_FOUND,
            500..=599 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, code, detail: detail.to_owned() }
    }

    /// The same problem with another status.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let row = self.code.row();
        let body = json!({
            "type": format!("urn:rejoin:error:{}", row.code),
            "title": row.description,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": row.code,
            "retryable": row.retryable,
        });
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, content_type);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
