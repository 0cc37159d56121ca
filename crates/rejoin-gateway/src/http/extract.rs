//! Extractors for paths, queries and bodies, whose problems name the invalid field.

use std::{error::Error, ops::RangeInclusive, sync::Arc};

use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request,
        path::ErrorKind,
        rejection::{BytesRejection, PathRejection},
    },
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use rejoin_core::Authority;
use rejoin_protocol::ErrorCode;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{accept::Stopping, credentials::Caller, problem::Problem, state::Shared};

/// The path parameters of a request.
pub(super) struct InPath<T>(pub(super) T);

/// The query parameters of a request.
pub(super) struct InQuery<T>(pub(super) T);

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

/// An optional JSON body.
pub(super) struct OptionalJson<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Shared>> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Arc<Shared>,
    ) -> Result<Self, Self::Rejection> {
        let path = Path::from_request_parts(parts, shared).await;
        path.map(|Path(value)| Self(value)).map_err(|error| invalid_path(&error))
    }
}

fn invalid_path(error: &PathRejection) -> Problem {
    // The library's own message names neither the parameter nor the rule.
    let detail = match error {
        PathRejection::FailedToDeserializePathParams(error) => match error.kind() {
            ErrorKind::DeserializeError { key, message, .. } => format!("`{key}`: {message}"),
            ErrorKind::InvalidUtf8InPathParam { key } => format!("`{key}` must be UTF-8"),
            ErrorKind::Message(message) => message.clone(),
            _ => error.body_text(),
        },
        error => error.body_text(),
    };
    Problem::new(ErrorCode::InvalidField, &detail)
}

impl<T: DeserializeOwned> FromRequestParts<Arc<Shared>> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Arc<Shared>,
    ) -> Result<Self, Self::Rejection> {
        let query = Query::from_request_parts(parts, shared).await;
        query
            .map(|Query(value)| Self(value))
            .map_err(|error| Problem::new(ErrorCode::InvalidField, &error.body_text()))
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<Shared>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        check_content_type(request.headers())?;
        parse(&body(request, shared).await?).map(Self)
    }
}

impl<T: DeserializeOwned + Default> FromRequest<Arc<Shared>> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let content_type = check_content_type(request.headers());
        let body = body(request, shared).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }

        // A request without a body needs no content type.
        content_type?;
        if body.trim_ascii() == b"null" {
            return Ok(Self(T::default()));
        }
        parse(&body).map(Self)
    }
}

/// Reads the whole body, up to the limit.
///
/// Then rechecks the caller: the token may have been revoked while the body arrived, and the
/// request takes effect next.
pub(super) async fn body(request: Request, shared: &Arc<Shared>) -> Result<Bytes, Problem> {
    // Present if a handler or a middleware has extracted it. `POST /login` has no caller.
    let caller = request.extensions().get::<Caller>().cloned();
    // Bounded by the router's `DefaultBodyLimit`.
    let body = Bytes::from_request(request, shared).await;
    let body = body.map_err(|error| invalid_body(&error))?;

    if let Some(caller) = caller {
        caller.check()?;
    }
    Ok(body)
}

fn invalid_body(error: &BytesRejection) -> Problem {
    if is_caused_by::<Stopping>(error) {
        return Problem::new(ErrorCode::Overloaded, &Stopping.to_string());
    }

    let status = error.status();
    let detail = if status == StatusCode::PAYLOAD_TOO_LARGE {
        "the body is longer than `limits.max_message_bytes` allows".to_owned()
    } else {
        format!("the body could not be read: {}", error.body_text())
    };
    Problem::new(ErrorCode::InvalidField, &detail).with_status(status)
}

fn is_caused_by<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    error.is::<E>() || error.source().is_some_and(is_caused_by::<E>)
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // A form on another site cannot send this content type without a preflight (CSRF).
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = "the body must be JSON; send `Content-Type: application/json`";
    let problem = Problem::new(ErrorCode::InvalidField, detail);
    Err(problem.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    // Serde would accept an array and take its elements for the fields.
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::new(ErrorCode::MalformedJson, "the body must be a JSON object"));
    }

    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        invalid_json(error.inner(), if path == "." { "" } else { &path })
    })?;
    // Rejects trailing text after the object.
    deserializer.end().map_err(|error| invalid_json(&error, ""))?;
    Ok(value)
}

/// Returns the problem for an invalid body. Names the field, or the line of a syntax error.
fn invalid_json(error: &serde_json::Error, path: &str) -> Problem {
    if error.classify() != serde_json::error::Category::Data {
        return Problem::new(ErrorCode::MalformedJson, &error.to_string());
    }

    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or(&message);
    let code = if message.starts_with("missing field") {
        ErrorCode::MissingField
    } else {
        ErrorCode::InvalidField
    };
    let detail = if path.is_empty() { message.to_owned() } else { format!("`{path}`: {message}") };
    Problem::new(code, &detail)
}

/// Deserializes a whole number in a range. Accepts `1.0`, as JSON Schema's `integer` does.
pub(super) fn whole<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
    allowed: RangeInclusive<u32>,
) -> Result<u32, D::Error> {
    let number = f64::deserialize(deserializer).ok();
    let number = number.filter(|number| number.fract() == 0.0);
    // Converted through `i64`, which represents every whole number of the range exactly.
    let whole = number.and_then(|number| {
        #[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
        let number = number as i64;
        u32::try_from(number).ok()
    });
    whole.filter(|whole| allowed.contains(whole)).ok_or_else(|| {
        let (min, max) = allowed.into_inner();
        serde::de::Error::custom(format!("must be a whole number from {min} to {max}"))
    })
}

/// The maximum number of items on one page: 1 to 1000, by default 100.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(pub(super) usize);

impl Limit {
    const MAX: usize = 1000;
}

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // `parse` alone would accept a leading `+`.
        let number = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        number.filter(|number| (1..=Self::MAX).contains(number)).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!("must be a number from 1 to {}", Self::MAX))
        })
    }
}

impl utoipa::PartialSchema for Limit {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::Integer)
            .description(Some("The maximum number of items on the page."))
            .minimum(Some(1))
            .maximum(Some(Self::MAX))
            .default(Some(Self::default().0.into()))
            .into()
    }
}

impl utoipa::ToSchema for Limit {}
