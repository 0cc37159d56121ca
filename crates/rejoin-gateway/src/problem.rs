//! Errors as problem details (RFC 9457).

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use rejoin_protocol::{ErrorCode, code::ERROR_CODES, message::ErrorBody};
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema, schema::ObjectBuilder},
};

/// The media type of problem details.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// The problem with which a request is refused.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: ErrorCode,
    detail: String,
    /// The time after which the same request may succeed, if it can be estimated.
    retry_after: Option<Duration>,
}

/// The body of a response to a refused request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "urn:rejoin:error:unknown_session",
    "title": "No session with this id is accessible to you.",
    "status": 404,
    "detail": "there is no session `build`, or it is not yours",
    "code": "unknown_session",
    "retryable": false,
}))]
pub(crate) struct ProblemBody {
    /// The code as a URI.
    #[schema(pattern = "^urn:rejoin:error:[a-z_]+$")]
    r#type: String,
    /// The meaning of the code.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The error in this request, and what is allowed.
    detail: String,
    #[schema(value_type = Code)]
    code: &'static str,
    /// True if the same request may succeed later.
    retryable: bool,
}

/// The schema of all error codes.
pub(crate) struct Code;

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let codes = ERROR_CODES.iter().map(|row| Value::from(row.code));
        ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some(
                "The error code, for programs. docs/protocol-codes.md lists all codes.",
            ))
            .enum_values(Some(codes))
            .into()
    }
}

impl ToSchema for Code {}

impl Problem {
    /// Creates a problem with the status of its code. Truncates the detail like the message of an
    /// [`ErrorBody`].
    pub(crate) fn new(code: ErrorCode, detail: &str) -> Self {
        Self::from(ErrorBody::new(code, detail.to_owned()))
    }

    /// Sets the time after which the same request may succeed.
    pub(crate) fn with_retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Replaces the status.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

impl From<ErrorBody> for Problem {
    fn from(ErrorBody { code, message, .. }: ErrorBody) -> Self {
        let (status, detail) = (status(code), message.into_owned());
        Self { status, code, detail, retry_after: retry_after(code) }
    }
}

impl From<ErrorCode> for Problem {
    fn from(code: ErrorCode) -> Self {
        ErrorBody::from(code).into()
    }
}

fn status(code: ErrorCode) -> StatusCode {
    use ErrorCode as E;
    match code {
        E::NotAuthenticated
        | E::AuthenticationFailed
        | E::AuthenticationTimedOut
        | E::TokenExpired
        | E::TokenRevoked => StatusCode::UNAUTHORIZED,
        E::Forbidden | E::ReadOnly => StatusCode::FORBIDDEN,
        E::UnknownSession
        | E::UnknownTopic
        | E::UnknownProfile
        | E::UnknownConnection
        | E::NotFound => StatusCode::NOT_FOUND,
        E::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        E::AlreadyAuthenticated
        | E::NotAttached
        | E::NotSubscribed
        | E::SessionExists
        | E::SessionEnded
        | E::SessionNotLost
        | E::StartFailed
        | E::InputOutOfOrder => StatusCode::CONFLICT,
        E::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        E::ConnectionLimit
        | E::TooManySubscriptions
        | E::TooManyTopics
        | E::TooManySessions
        | E::TooManyTickets
        | E::InputFull
        | E::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        E::KeysUnavailable | E::Overloaded | E::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
        E::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        E::MalformedJson | E::MissingField | E::InvalidField | E::UnknownType => {
            StatusCode::BAD_REQUEST
        }
    }
}

/// Returns the time after which a retry may succeed.
fn retry_after(code: ErrorCode) -> Option<Duration> {
    let seconds = match code {
        ErrorCode::InputFull => 1,
        ErrorCode::KeysUnavailable | ErrorCode::Overloaded | ErrorCode::TimedOut => 5,
        // The lifetime of a ticket.
        ErrorCode::TooManyTickets => 30,
        _ if status(code) == StatusCode::TOO_MANY_REQUESTS => 60,
        _ => return None,
    };
    Some(Duration::from_secs(seconds))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let row = self.code.row();
        let body = ProblemBody {
            r#type: format!("urn:rejoin:error:{}", row.code),
            title: row.description,
            status: self.status.as_u16(),
            detail: self.detail,
            code: row.code,
            retryable: row.retryable,
        };

        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        // A retry must not be answered from a cache.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

        // A 401 response must name an authentication scheme (RFC 9110 §15.5.2).
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(time) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(time.as_secs()));
        }
        response
    }
}
