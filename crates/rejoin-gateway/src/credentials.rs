//! The credentials of a request: a token, a ticket or a cookie.

mod caller;
pub(crate) mod cookie;

use axum::http::{HeaderMap, HeaderValue, header, request::Parts};
use rejoin_auth::{HeldTicket, TokenError};
use rejoin_core::Identity;
use rejoin_protocol::ErrorCode;

pub(crate) use caller::Caller;

use crate::{origin::is_own_origin, peer::Peer, problem::Problem, state::Shared};

/// The credentials in the URL of a WebSocket.
#[derive(Default)]
pub(crate) struct UrlCredentials {
    /// A single-use ticket.
    pub(crate) ticket: Option<String>,
    /// A token, if `GatewayConfig::token_in_url` allows it.
    pub(crate) token: Option<String>,
}

/// The result of checking the credentials of an upgrade request.
#[derive(Debug)]
pub(crate) enum AuthOutcome {
    /// The credentials are valid.
    Known(Identity),
    /// The request has no credentials. The first message must have a token.
    Unknown,
    /// The credentials are invalid. A script in a browser cannot read the HTTP status, so the
    /// upgrade succeeds and a close code reports the reason.
    Refused(TokenError),
}

/// Authenticates the client that sent an HTTP request.
pub(crate) async fn identify(shared: &Shared, parts: &Parts) -> Result<Identity, Problem> {
    // Explicit credentials take precedence over a cookie, which browsers add on their own.
    if let Some(token) = bearer(&parts.headers) {
        return shared.verify(token).await.map_err(|error| refuse(shared, &error));
    }
    let Some(secret) = cookie::read(shared, parts) else {
        return shared.anonymous().ok_or_else(|| {
            let detail = "send `Authorization: Bearer TOKEN`";
            Problem::new(ErrorCode::NotAuthenticated, detail)
        });
    };

    // A browser sends the cookie with every request, including those triggered by a page of
    // another origin (CSRF).
    if !parts.method.is_safe() && !is_same_origin(&parts.headers) {
        let detail = "a request with a cookie must come from this server's own pages";
        return Err(Problem::new(ErrorCode::Forbidden, detail));
    }
    identify_browser_session(shared, &secret).map_err(|error| refuse(shared, &error))
}

/// Returns the identity of the browser session that has this cookie secret.
fn identify_browser_session(shared: &Shared, secret: &str) -> Result<Identity, TokenError> {
    let sessions = shared.browser_sessions();
    let Some(identity) = sessions.identify(secret) else {
        // The server may no longer require a log-in.
        return shared.anonymous().ok_or(TokenError::LoggedOut);
    };
    shared.config.verifier.recheck(&identity)?;

    // Recorded after the check: a use extends the session, and must not extend a revoked one.
    Ok(sessions.record_use(secret).unwrap_or(identity))
}

/// Returns the identity of the client that opens a WebSocket, and the ticket that it stands for.
///
/// The ticket is held, not spent: a request that fails a later check can be repeated with it. Does
/// not check the origin; the caller does.
///
/// # Errors
/// A problem if the `Authorization` header is invalid. Other invalid credentials result in
/// [`AuthOutcome::Refused`].
pub(crate) async fn identify_upgrade(
    shared: &Shared,
    parts: &Parts,
    credentials: UrlCredentials,
) -> Result<(AuthOutcome, Option<HeldTicket>), Problem> {
    if let Some(token) = bearer(&parts.headers) {
        let identity = shared.verify(token).await.map_err(|error| refuse(shared, &error))?;
        return Ok((AuthOutcome::Known(identity), None));
    }
    if let Some(ticket) = credentials.ticket {
        let ticket = shared.config.tickets.hold(&ticket);
        let auth = match &ticket {
            Some(ticket) => AuthOutcome::Known(ticket.identity().clone()),
            None => {
                shared.metrics.auth_failed(TokenError::Ticket.reason());
                AuthOutcome::Refused(TokenError::Ticket)
            }
        };
        return Ok((auth, ticket));
    }
    if credentials.token.is_some() && !shared.config.token_in_url {
        let detail = "a token in a URL ends up in logs and histories: send it in the header \
                      `Authorization` or in the first message, or exchange it for a ticket \
                      (`POST /api/v1/tickets`)";
        return Err(Problem::new(ErrorCode::NotAuthenticated, detail));
    }

    // A page of another allowed origin must bring its own credentials.
    let secret = || cookie::read(shared, parts).filter(|_| is_own_page(parts));
    // The cookie counts only if the request has no other credentials.
    let identity = match credentials.token {
        Some(token) => shared.verify(&token).await,
        None => match secret() {
            Some(secret) => identify_browser_session(shared, &secret),
            None => {
                let auth = shared.anonymous().map_or(AuthOutcome::Unknown, AuthOutcome::Known);
                return Ok((auth, None));
            }
        },
    };
    let auth = match identity {
        Ok(identity) => AuthOutcome::Known(identity),
        Err(error) => {
            shared.metrics.auth_failed(error.reason());
            AuthOutcome::Refused(error)
        }
    };
    Ok((auth, None))
}

/// Returns the token of `Authorization: Bearer` (RFC 6750 §2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Returns `true` if the WebSocket is opened by a page of this server, or by a program.
///
/// Over TLS, a page that was loaded without TLS does not count as this server's: an attacker on
/// the network may have changed it.
fn is_own_page(parts: &Parts) -> bool {
    let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let is_secure = parts.extensions.get::<Peer>().is_some_and(|peer| peer.is_secure);
    let has_scheme = header("origin").is_none_or(|it| !is_secure || it.starts_with("https://"));
    let is_same = header("sec-fetch-site").is_none_or(|site| site == "same-origin");
    has_scheme && is_same && is_own_origin(&parts.headers)
}

/// Returns `true` if the browser states that the request comes from a page of this server.
fn is_same_origin(headers: &HeaderMap) -> bool {
    // Scripts cannot set this header. Browsers that lack it send `Origin` with unsafe methods.
    match headers.get("sec-fetch-site").and_then(|site| site.to_str().ok()) {
        Some(site) => site == "same-origin",
        None => headers.contains_key(header::ORIGIN) && is_own_origin(headers),
    }
}

/// Refuses a log-in or log-out that a page of another origin requests.
///
/// # Errors
/// `forbidden`.
pub(crate) fn check_own_page(headers: &HeaderMap) -> Result<(), Problem> {
    let from_browser =
        headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    // A request with neither header comes from a program, which has no browser cookie to abuse.
    if from_browser && !is_same_origin(headers) {
        let detail = "only this server's own pages may log a browser in or out";
        return Err(Problem::new(ErrorCode::Forbidden, detail));
    }
    Ok(())
}

/// Counts a failed authentication, and returns the problem to respond with.
pub(crate) fn refuse(shared: &Shared, error: &TokenError) -> Problem {
    shared.metrics.auth_failed(error.reason());
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
    fn only_this_servers_pages_change_anything_with_a_cookie() {
        const HOST: (&str, &str) = ("host", "rejoin.example:7400");
        const OWN: (&str, &str) = ("origin", "https://rejoin.example:7400");
        let cases: [(&[_], bool); 9] = [
            (&[HOST, ("sec-fetch-site", "same-origin")], true),
            // Another port or name of the same site is another origin.
            (&[HOST, OWN, ("sec-fetch-site", "same-site")], false),
            (&[HOST, OWN, ("sec-fetch-site", "cross-site")], false),
            (&[HOST, OWN, ("sec-fetch-site", "none")], false),
            (&[HOST, OWN], true),
            (&[HOST, ("origin", "https://rejoin.example")], false),
            (&[HOST, ("origin", "https://evil.example")], false),
            (&[HOST, ("origin", "null")], false),
            // A browser that sends neither header.
            (&[HOST], false),
        ];

        for (lines, is_own) in cases {
            assert_eq!(is_same_origin(&headers(lines)), is_own, "{lines:?}");
        }
    }

    #[test]
    fn the_bearer_scheme_is_matched_in_any_case() {
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
