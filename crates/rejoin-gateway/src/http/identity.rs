//! Who sends a request: a header, a ticket or a cookie says so.

use axum::http::{HeaderMap, HeaderValue, header, request::Parts};
use rejoin_core::Identity;
use rejoin_protocol::ErrorCode;

use crate::{
    gateway::Shared,
    http::{Problem, cookie, is_own_origin},
    peer::Peer,
    ticket::HeldTicket,
    token::TokenError,
};

/// What a socket's request may say of its user in its address.
#[derive(Default)]
pub(crate) struct UrlCredentials {
    /// A single-use ticket.
    pub(crate) ticket: Option<String>,
    /// A token, where the configuration allows it.
    pub(crate) token: Option<String>,
}

/// Who opens a socket.
#[derive(Debug)]
pub(crate) enum AuthOutcome {
    /// Somebody whose proof is good.
    Known(Identity),
    /// Somebody with a ticket, which is spent when the socket is theirs.
    Ticket(HeldTicket),
    /// Somebody who says so with the first message.
    Unknown,
    /// Somebody whose proof is not good, and who cannot see an HTTP status: told by a close code.
    Refused(TokenError),
}

/// Who sends an HTTP request.
pub(crate) async fn identify(shared: &Shared, parts: &Parts) -> Result<Identity, Problem> {
    if let Some(token) = bearer(&parts.headers) {
        return shared.verify(token).await.map_err(|error| refused(shared, &error));
    }
    let Some(secret) = cookie::read(shared, parts) else {
        return shared.anonymous().ok_or_else(|| {
            let detail = "send `Authorization: Bearer TOKEN`";
            Problem::new(ErrorCode::NotAuthenticated, detail)
        });
    };
    // A browser adds the cookie to whatever a page of another origin makes it send.
    if !parts.method.is_safe() && !is_same_origin(&parts.headers) {
        let detail = "a request with a cookie must come from this server's own pages";
        return Err(Problem::new(ErrorCode::Forbidden, detail));
    }
    of_browser_session(shared, &secret).map_err(|error| refused(shared, &error))
}

/// The identity of a browser session, by the secret in its cookie.
fn of_browser_session(shared: &Shared, secret: &str) -> Result<Identity, TokenError> {
    let sessions = shared.browser_sessions();
    let Some(identity) = sessions.identify(secret) else {
        // Nobody needs to log in any more.
        return shared.anonymous().ok_or(TokenError::LoggedOut);
    };
    shared.config.verifier.recheck(&identity)?;
    // Not before: that would keep a session that is revoked.
    Ok(sessions.note_use(secret).unwrap_or(identity))
}

/// Who opens a socket. The origin is the caller's to check.
pub(crate) async fn identify_upgrade(
    shared: &Shared,
    parts: &Parts,
    credentials: UrlCredentials,
) -> Result<AuthOutcome, Problem> {
    let headers = &parts.headers;
    if let Some(token) = bearer(headers) {
        let identity = shared.verify(token).await.map_err(|error| refused(shared, &error))?;
        return Ok(AuthOutcome::Known(identity));
    }
    if let Some(ticket) = credentials.ticket {
        return Ok(match shared.tickets.hold(&ticket) {
            Some(ticket) => AuthOutcome::Ticket(ticket),
            None => {
                shared.hub.metrics().auth_failed(TokenError::Ticket.reason());
                AuthOutcome::Refused(TokenError::Ticket)
            }
        });
    }
    let token = match credentials.token {
        Some(_) if !shared.config.token_in_url => {
            let detail = "a token in an address ends in logs and histories: send it in the \
                          header `Authorization`, in the first message, or exchange it for a \
                          ticket (`POST /api/v1/tickets`)";
            return Err(Problem::new(ErrorCode::NotAuthenticated, detail));
        }
        token => token,
    };
    // A page of another origin that may connect brings its own proof.
    let secret = || cookie::read(shared, parts).filter(|_| is_own_page(parts));
    let identity = match token {
        Some(token) => shared.verify(&token).await,
        None => match secret() {
            Some(secret) => of_browser_session(shared, &secret),
            None => return Ok(shared.anonymous().map_or(AuthOutcome::Unknown, AuthOutcome::Known)),
        },
    };
    Ok(match identity {
        Ok(identity) => AuthOutcome::Known(identity),
        Err(error) => {
            shared.hub.metrics().auth_failed(error.reason());
            AuthOutcome::Refused(error)
        }
    })
}

/// The token of `Authorization: Bearer`, if there is one (RFC 6750 §2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a socket is opened by a page of this server, or by a program: behind TLS, not by a page
/// without it.
fn is_own_page(parts: &Parts) -> bool {
    let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let is_secure = parts.extensions.get::<Peer>().is_some_and(|peer| peer.is_secure);
    let has_scheme = header("origin").is_none_or(|it| !is_secure || it.starts_with("https://"));
    let is_same = header("sec-fetch-site").is_none_or(|site| site == "same-origin");
    has_scheme && is_same && is_own_origin(&parts.headers)
}

/// Whether a browser says that one of this server's pages sends the request.
fn is_same_origin(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-site").and_then(|site| site.to_str().ok()) {
        Some(site) => site == "same-origin",
        None => headers.contains_key(header::ORIGIN) && is_own_origin(headers),
    }
}

/// Whether a request may change what a browser is logged in with: it comes from no page, or from
/// one of this server.
///
/// # Errors
/// `forbidden`.
pub(super) fn check_own_page(headers: &HeaderMap) -> Result<(), Problem> {
    let from_browser =
        headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    if from_browser && !is_same_origin(headers) {
        let detail = "a browser is logged in and out by this server's own pages only";
        return Err(Problem::new(ErrorCode::Forbidden, detail));
    }
    Ok(())
}

/// Counts a token that is not good.
pub(super) fn refused(shared: &Shared, error: &TokenError) -> Problem {
    shared.hub.metrics().auth_failed(error.reason());
    Problem::new(error.codes().0, &error.to_string())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn a_cookie_changes_something_only_for_this_servers_own_pages() {
        const HOST: (&str, &str) = ("host", "rejoin.example:7400");
        const OWN: (&str, &str) = ("origin", "https://rejoin.example:7400");
        let cases: [(&[_], bool); 9] = [
            (&[HOST, ("sec-fetch-site", "same-origin")], true),
            // Another port or name of the same site is another page.
            (&[HOST, OWN, ("sec-fetch-site", "same-site")], false),
            (&[HOST, OWN, ("sec-fetch-site", "cross-site")], false),
            (&[HOST, OWN, ("sec-fetch-site", "none")], false),
            (&[HOST, OWN], true),
            (&[HOST, ("origin", "https://rejoin.example")], false),
            (&[HOST, ("origin", "https://evil.example")], false),
            (&[HOST, ("origin", "null")], false),
            // A browser that says nothing of where it comes from.
            (&[HOST], false),
        ];
        for (lines, is_own) in cases {
            assert_eq!(is_same_origin(&headers(lines)), is_own, "{lines:?}");
        }
    }

    #[test]
    fn a_bearer_is_a_scheme_of_any_case_and_no_other() {
        let cases = [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearerabc", None),
        ];
        for (value, token) in cases {
            assert_eq!(bearer(&headers(&[("authorization", value)])), token, "{value}");
        }
    }
}
