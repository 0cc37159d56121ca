//! Addresses, origins, hosts, proxies and URLs of the configuration.

use std::net::SocketAddr;

use rejoin_gateway::{JwksUrl, TrustedProxies};
use serde::{Deserialize, Deserializer, de::Error};

use crate::config::value::{parse_value, strings};

/// Longest host name, in bytes (RFC 1035 §2.3.4).
const MAX_HOST_BYTES: usize = 253;

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let problem = "is not an address; write an IP address with a port, such as \
                   \"127.0.0.1:7400\" or \"[::1]:7400\"";
    parse_value(deserializer, problem, |value| value.as_str()?.parse().ok())
}

/// Parses a base path. Returns it with a slash at both ends.
pub(super) fn base_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let problem = "is not a path; write for example \"/\" or \"/rejoin/\", with letters, digits \
                   and `-._~` only";
    parse_value(deserializer, problem, |value| {
        let path = value.as_str()?.strip_prefix('/')?.trim_matches('/');
        match path {
            "" => Some("/".to_owned()),
            _ => path.split('/').all(is_path_segment).then(|| format!("/{path}/")),
        }
    })
}

/// Returns `true` if the text needs no encoding in a URL (RFC 3986 §2.3) and is not `.` or `..`.
fn is_path_segment(text: &str) -> bool {
    // `.` and `..` are resolved by browsers before the request.
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_unreserved) && text.bytes().any(|byte| byte != b'.')
}

pub(super) fn jwks_url<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<JwksUrl>, D::Error> {
    let url = String::deserialize(deserializer)?;
    JwksUrl::new(&url).map(Some).map_err(Error::custom)
}

pub(super) fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let problem = "is not a list of origins; write for example [\"https://example.org\"]";
    parse_value(deserializer, problem, |value| {
        strings(value).filter(|origins| origins.iter().all(|origin| is_origin(origin)))
    })
}

/// Returns `true` for a scheme and a host without a path, as browsers send it in `Origin`.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains('/'))
}

/// Parses hosts. A server without log-in refuses all other hosts, against DNS rebinding.
pub(super) fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let problem = "is not a list of hosts; write names without scheme and port, such as \
                   [\"rejoin.example.org\"]";
    parse_value(deserializer, problem, |value| {
        strings(value).filter(|hosts| hosts.iter().all(|host| is_host(host)))
    })
}

fn is_host(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= MAX_HOST_BYTES && text.bytes().all(is_allowed)
}

pub(super) fn proxies<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<TrustedProxies, D::Error> {
    let problem = "is not a list of addresses and networks; write for example [\"127.0.0.1\", \
                   \"10.0.0.0/8\"]";
    let proxies = parse_value(deserializer, problem, strings)?;
    TrustedProxies::new(proxies.iter().map(String::as_str)).map_err(Error::custom)
}
