//! The check of `Origin`, which decides which pages may open a socket or call the API.

use axum::http::{HeaderMap, header};

/// Returns `true` unless the request comes from a page of an origin that is not allowed.
pub(crate) fn is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) || is_own_origin(headers)
}

/// Returns `true` unless the request comes from a page of another origin.
pub(crate) fn is_own_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    // Compares only host and port: behind a proxy, the server does not know the page's scheme.
    matches!((authority, host), (Some((_, a)), Some(b)) if a.eq_ignore_ascii_case(b))
}
