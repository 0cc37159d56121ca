//! The headers of the opening handshake.

use rejoin_websocket::{
    accept_key,
    handshake::{HandshakeError, accept},
};

/// The example of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const GOOD: [(&str, &str); 5] = [
    ("Host", "example.org"),
    ("Connection", "keep-alive, Upgrade"),
    ("upgrade", "WebSocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
];

fn check(headers: &[(&str, &str)]) -> Result<String, HandshakeError> {
    accept(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
}

/// Checks the valid request with another value for `name`, or without the header.
fn with(name: &str, value: Option<&'static str>) -> Result<String, HandshakeError> {
    let mut headers = GOOD.to_vec();
    headers.retain(|header| header.0 != name);
    headers.extend(value.map(|value| (name, value)));
    check(&headers)
}

#[test]
fn the_example_key_gets_the_example_answer() {
    assert_eq!(accept_key(KEY), ACCEPT);
    assert_eq!(check(&GOOD).as_deref(), Ok(ACCEPT));
}

#[test]
fn a_token_may_be_in_any_of_several_headers() {
    let headers = [&[("connection", "close"), ("upgrade", "h2c")], &GOOD[..]].concat();
    assert_eq!(check(&headers).as_deref(), Ok(ACCEPT));
}

#[test]
fn a_request_without_an_upgrade_is_refused() {
    for (name, values) in
        [("Connection", [None, Some("keep-alive")]), ("upgrade", [None, Some("websocket2")])]
    {
        for value in values {
            assert_eq!(with(name, value), Err(HandshakeError::NotUpgrade));
        }
    }
}

#[test]
fn another_version_is_refused() {
    for value in [None, Some("8"), Some("130")] {
        assert_eq!(with("Sec-WebSocket-Version", value), Err(HandshakeError::Version));
    }
}

#[test]
fn a_key_that_is_not_16_bytes_is_refused() {
    let keys = [None, Some(""), Some("dGhl"), Some("dGhlIHNhbXBsZSBub25jZQ"), Some("??")];
    for value in keys {
        assert_eq!(with("Sec-WebSocket-Key", value), Err(HandshakeError::Key));
    }
}

#[test]
fn two_keys_are_refused() {
    let headers = [&GOOD[..], &[("sec-websocket-key", KEY)]].concat();
    assert_eq!(check(&headers), Err(HandshakeError::Key));
}
