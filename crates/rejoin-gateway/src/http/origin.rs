//! Origins: which pages may open a socket.

use axum::http::{HeaderMap, header};

/// Whether a request may open a socket: it comes from no page, from one of this server, or from
/// an origin of the configuration.
pub(crate) fn is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    matches!((authority, host), (Some(a), Some(b)) if a.eq_ignore_ascii_case(b))
}
