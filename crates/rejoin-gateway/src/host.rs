//! The check of `Host` on a server that requires no log-in.
//!
//! Another site can make its own host name resolve to this server (DNS rebinding). The browser then
//! takes this server for that site, so `Origin` and cookies prove nothing. Only `Host` reveals the
//! name that the browser used.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, header, uri::Authority};
use rejoin_protocol::ErrorCode;

use crate::problem::Problem;

/// The hosts that a server accepts in `Host`.
#[derive(Debug)]
pub(crate) enum AllowedHosts {
    /// Any host: the server requires a log-in.
    All,
    /// `localhost`, loopback addresses, the listener's address, and configured names.
    Only { listen: Option<IpAddr>, names: Vec<String> },
}

impl AllowedHosts {
    /// Allows any host.
    pub(crate) fn all() -> Self {
        Self::All
    }

    /// Allows loopback hosts, the listener's address and these names.
    pub(crate) fn new(listen: Option<IpAddr>, names: &[String]) -> Self {
        let names = names.iter().map(|name| name.trim_end_matches('.').to_owned()).collect();
        Self::Only { listen, names }
    }

    /// Refuses a request whose `Host` is not allowed.
    ///
    /// # Errors
    /// `forbidden` with status 421.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Self::Only { listen, names } = self else { return Ok(()) };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        if host.is_some_and(|host| is_named(host, *listen, names)) {
            return Ok(());
        }

        let detail = "this server requires no log-in, so it accepts known host names only; add the \
                      name in `Host` to `server.allowed_hosts`, or set `auth.required`";
        let problem = Problem::new(ErrorCode::Forbidden, detail);
        Err(problem.with_status(StatusCode::MISDIRECTED_REQUEST))
    }
}

/// Returns `true` if a `Host` value names this server. Ignores its port.
fn is_named(host: &str, listen: Option<IpAddr>, names: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    // Converted to IPv4 if possible: `[::ffff:127.0.0.1]` is a loopback address, too.
    match address.map(|address| address.to_canonical()) {
        Ok(address) => {
            // DNS rebinding needs a name: a literal address cannot be rebound.
            let anywhere = listen.is_some_and(|listen| listen.is_unspecified());
            address.is_loopback() || anywhere || listen == Some(address)
        }
        Err(_) => {
            // A trailing dot marks a fully qualified name. Browsers keep it in `Host`.
            let name = name.trim_end_matches('.');
            let is_same = |allowed: &String| allowed.eq_ignore_ascii_case(name);
            name.eq_ignore_ascii_case("localhost") || names.iter().any(is_same)
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn allows(listen: &str, host: &str) -> bool {
        let hosts = AllowedHosts::new(listen.parse().ok(), &["Rejoin.example".to_owned()]);
        let headers = [(header::HOST, HeaderValue::from_str(host).unwrap())];
        hosts.check(&headers.into_iter().collect()).is_ok()
    }

    #[test]
    fn only_the_servers_own_names_and_addresses_are_allowed() {
        for host in [
            "localhost",
            "LOCALHOST:7400",
            "localhost.",
            "127.0.0.1:7400",
            "127.9.9.9",
            "[::1]:7400",
            "[::ffff:127.0.0.1]",
            "192.0.2.7:80",
            "rejoin.example",
            "rejoin.example.:443",
        ] {
            assert!(allows("192.0.2.7", host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:7400",
            "localhost.evil.example",
            "192.0.2.8",
            "127.0.0.1.evil.example",
            "rejoin.example.evil.example",
            "[::2]",
            "a b",
            "0.0.0.0",
            "evil.example@localhost:1:2",
            "2130706433",
        ] {
            assert!(!allows("192.0.2.7", host), "{host}");
        }
    }

    #[test]
    fn a_wildcard_listener_allows_any_address_but_no_name() {
        for listen in ["0.0.0.0", "::"] {
            assert!(allows(listen, "192.0.2.8:7400") && allows(listen, "[2001:db8::1]"));
            assert!(!allows(listen, "evil.example"));
        }
    }
}
