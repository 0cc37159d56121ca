//! The server side of the opening handshake (RFC 6455 §4.2).

mod extensions;

use base64::{Engine, prelude::BASE64_STANDARD};
use sha1::{Digest, Sha1};

pub use self::extensions::accept_deflate;

/// The constant that is hashed together with the client's key (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request that cannot open a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// `Connection: upgrade` or `Upgrade: websocket` is missing; answer 426.
    #[error("the request does not ask for an upgrade to WebSocket")]
    NotUpgrade,
    /// The version is not 13; answer 426 with `Sec-WebSocket-Version: 13` (RFC 6455 §4.4).
    #[error("`Sec-WebSocket-Version` must be 13")]
    Version,
    /// `Sec-WebSocket-Key` is missing, repeated or not 16 bytes in base64; answer 400.
    #[error("`Sec-WebSocket-Key` must occur once and be 16 bytes in base64")]
    Key,
}

/// Checks a request's headers and returns the value of `Sec-WebSocket-Accept`.
///
/// The caller must check the method, the HTTP version, the origin and the subprotocol.
///
/// # Errors
/// The first [`HandshakeError`] that applies, in the order of its variants.
pub fn accept<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<String, HandshakeError> {
    let (mut connection, mut upgrade, mut version) = (false, false, false);
    let mut key = None;
    let mut key_count = 0;

    for (name, value) in headers {
        // A header that is not UTF-8 cannot be one of these four.
        let Ok(value) = str::from_utf8(value) else { continue };
        match name.to_ascii_lowercase().as_str() {
            // A header may be repeated, so each of its values counts.
            "connection" => connection |= has_token(value, "upgrade"),
            "upgrade" => upgrade |= has_token(value, "websocket"),
            "sec-websocket-version" => version |= value.trim() == "13",
            "sec-websocket-key" => {
                key = Some(value.trim());
                key_count += 1;
            }
            _ => {}
        }
    }

    // In this order: a plain HTTP request must get 426, not a complaint about its missing key.
    if !connection || !upgrade {
        return Err(HandshakeError::NotUpgrade);
    }

    if !version {
        return Err(HandshakeError::Version);
    }

    match (key, key_count) {
        (Some(key), 1) if is_key(key) => Ok(accept_key(key)),
        _ => Err(HandshakeError::Key),
    }
}

/// Returns the `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
pub fn accept_key(key: &str) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    BASE64_STANDARD.encode(digest)
}

fn has_token(list: &str, token: &str) -> bool {
    list.split(',').any(|item| item.trim().eq_ignore_ascii_case(token))
}

fn is_key(key: &str) -> bool {
    BASE64_STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}
