//! The cookie of a browser session: an opaque secret that no script can read.

use axum::http::{Extensions, HeaderMap, HeaderValue, header, request::Parts};

use crate::{peer::Peer, state::Shared};

/// The cookie's name without TLS.
const PLAIN: &str = "rejoin_session";
/// The cookie's name over TLS. Browsers accept it from this host only (RFC 6265bis §4.1.3.2).
const HOST: &str = "__Host-rejoin_session";
/// The cookie's name over TLS with a base path, which a `__Host-` cookie cannot have.
const SECURE: &str = "__Secure-rejoin_session";

/// Returns the secret in the cookie of a request.
pub(crate) fn read(shared: &Shared, parts: &Parts) -> Option<String> {
    find(&parts.headers, name(shared, &parts.extensions))
}

/// Returns the `Set-Cookie` header that stores a secret for `seconds`. Zero removes the cookie.
pub(crate) fn set(
    shared: &Shared,
    extensions: &Extensions,
    secret: &str,
    seconds: u64,
) -> HeaderValue {
    let name = name(shared, extensions);
    let secure = if name == PLAIN { "" } else { "; Secure" };
    let path = &shared.config.base_path;
    let cookie = format!(
        "{name}={secret}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );

    let mut cookie = HeaderValue::from_str(&cookie).expect("a secret is base64");
    // Keeps the secret out of debug output of headers.
    cookie.set_sensitive(true);
    cookie
}

/// Returns the name of the cookie for a request.
///
/// A request over TLS ignores cookies that were set without TLS, because an attacker on the
/// network can set those.
fn name(shared: &Shared, extensions: &Extensions) -> &'static str {
    match extensions.get::<Peer>() {
        Some(peer) if peer.is_secure && shared.config.base_path == "/" => HOST,
        Some(peer) if peer.is_secure => SECURE,
        _ => PLAIN,
    }
}

/// Returns the value of a cookie (RFC 6265 §4.2).
fn find(headers: &HeaderMap, name: &str) -> Option<String> {
    let lists = headers.get_all(header::COOKIE).iter().filter_map(|list| list.to_str().ok());
    let mut pairs = lists.flat_map(|list| list.split(';')).filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(found, _)| found.trim() == name)?;
    Some(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let cases = [
            ("rejoin_session=abc", Some("abc")),
            ("a=b; rejoin_session=abc; c=d", Some("abc")),
            ("a=b;rejoin_session=a=b", Some("a=b")),
            ("xrejoin_session=abc", None),
            ("__Host-rejoin_session=abc", None),
            ("rejoin_session", None),
            ("", None),
        ];

        for (list, value) in cases {
            let headers = [(header::COOKIE, HeaderValue::from_static(list))].into_iter().collect();
            assert_eq!(find(&headers, PLAIN).as_deref(), value, "{list}");
        }
    }
}
