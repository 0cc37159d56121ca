//! The opening handshake on the server's side: the checks of a request, RFC 6455 §4.2.

mod extensions;

use base64::{Engine, prelude::BASE64_STANDARD};
use sha1::{Digest, Sha1};

pub use self::extensions::accept_deflate;

/// What the key is hashed with (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a request opens no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// `Connection: upgrade` or `Upgrade: websocket` is missing: a plain request, answer 426.
    #[error("the request asks for no upgrade to WebSocket")]
    NotUpgrade,
    /// Another version than 13: answer 426 with `Sec-WebSocket-Version: 13` (RFC 6455 §4.4).
    #[error("the WebSocket version is not 13")]
    Version,
    /// `Sec-WebSocket-Key` is missing, repeated, or not 16 bytes in base64: answer 400.
    #[error("the WebSocket key is not one of 16 bytes in base64")]
    Key,
}

/// Checks a request's headers and gives the value of `Sec-WebSocket-Accept`.
///
/// The method, the HTTP version, the origin and the subprotocol are the caller's to check.
///
/// # Errors
/// A [`HandshakeError`], in the order of its variants.
pub fn accept<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<String, HandshakeError> {
    let (mut connection, mut upgrade, mut version) = (false, false, false);
    let mut keys = (None, 0);
    for (name, value) in headers {
        let Ok(value) = str::from_utf8(value) else { continue };
        match name.to_ascii_lowercase().as_str() {
            "connection" => connection |= has_token(value, "upgrade"),
            "upgrade" => upgrade |= has_token(value, "websocket"),
            "sec-websocket-version" => version |= value.trim() == "13",
            "sec-websocket-key" => keys = (Some(value.trim()), keys.1 + 1),
            _ => {}
        }
    }
    if !connection || !upgrade {
        return Err(HandshakeError::NotUpgrade);
    }
    if !version {
        return Err(HandshakeError::Version);
    }
    match keys {
        (Some(key), 1) if is_key(key) => Ok(accept_key(key)),
        _ => Err(HandshakeError::Key),
    }
}

/// Gives the `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
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
