//! The `Host` of requests to a server that needs no log-in.
//!
//! A page of another site can make its own name resolve to this server (DNS rebinding). The
//! browser then takes the server for that site, so `Origin` and cookies prove nothing. Only the
//! name in `Host` tells.

use std::net::IpAddr;

use axum::http::{StatusCode, header, request::Parts, uri::Authority};
use rejoin_protocol::ErrorCode;

use crate::{gateway::Shared, http::Problem};

/// The hosts that a server without log-in answers to.
#[derive(Debug)]
pub(crate) struct AllowedHosts {
    /// The address that the server listens on.
    listen: Option<IpAddr>,
    /// Names of the configuration.
    names: Vec<String>,
}

impl AllowedHosts {
    pub(crate) fn new(listen: Option<IpAddr>, names: Vec<String>) -> Self {
        let names = names.into_iter().map(|name| name.trim_end_matches('.').to_owned()).collect();
        Self { listen, names }
    }

    /// Whether a `Host` names this server; its port does not matter.
    fn contains(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address.map(|address| address.to_canonical()) {
            Ok(address) => {
                // No name resolves to an address that is written out.
                let anywhere = self.listen.is_some_and(|listen| listen.is_unspecified());
                address.is_loopback() || anywhere || self.listen == Some(address)
            }
            Err(_) => {
                let name = name.trim_end_matches('.');
                let is_named = |allowed: &String| allowed.eq_ignore_ascii_case(name);
                name.eq_ignore_ascii_case("localhost") || self.names.iter().any(is_named)
            }
        }
    }
}

/// Refuses a request whose `Host` is not allowed, if the server needs no log-in.
///
/// # Errors
/// `forbidden` with status 421.
pub(crate) fn check_host(shared: &Shared, parts: &Parts) -> Result<(), Problem> {
    if shared.config.auth_required {
        return Ok(());
    }
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(|host| shared.hosts.contains(host)) {
        return Ok(());
    }
    let detail = "this server needs no log-in, so it answers to known names only; add the name \
                  in `Host` to `server.allowed_hosts`, or set `auth.required`";
    let problem = Problem::new(ErrorCode::Forbidden, detail);
    Err(problem.with_status(StatusCode::MISDIRECTED_REQUEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listen: &str) -> AllowedHosts {
        AllowedHosts::new(Some(listen.parse().unwrap()), vec!["Rejoin.example".to_owned()])
    }

    #[test]
    fn only_names_and_addresses_of_the_server_are_its_hosts() {
        let hosts = hosts("192.0.2.7");
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
            assert!(hosts.contains(host), "{host}");
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
            assert!(!hosts.contains(host), "{host}");
        }
    }

    #[test]
    fn a_server_on_all_addresses_is_reached_by_any_address_but_not_by_any_name() {
        for listen in ["0.0.0.0", "::"] {
            assert!(
                hosts(listen).contains("192.0.2.8:7400") && hosts(listen).contains("[2001:db8::1]")
            );
            assert!(!hosts(listen).contains("evil.example"));
        }
    }
}
