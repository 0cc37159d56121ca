//! The first request of a plain connection, which its shard reads.
//!
//! The shard answers an upgrade of `{base}ws` itself, which saves two thread hops. All other
//! requests go to the HTTP server.

use std::time::Duration;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, request::Parts},
    response::Response,
};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::debug;

use crate::{
    accept::{Accept, is_upgrade},
    peer::Peer,
    pending::PendingSlot,
    socket::{Accepted, Endpoint, check},
};

/// The maximum length of a request's head, in bytes. hyper requires at least 8 KiB.
pub(crate) const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The maximum number of headers in a request that a shard parses. The HTTP server accepts more.
const MAX_HEADERS: usize = 64;
/// The maximum length of a refusal's body, in bytes.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// The state of a connection whose first request is being read.
#[derive(Debug)]
pub(crate) struct Opening {
    slot: PendingSlot,
    peer: Peer,
    bytes: Vec<u8>,
    deadline: Instant,
    /// The address limit has already counted the request. The HTTP server must not count it again.
    admitted: bool,
}

/// A shard's decision about a first request.
#[derive(Debug)]
pub(crate) enum FirstRequest {
    /// The head is incomplete.
    Incomplete,
    /// The HTTP server takes over the connection.
    Http,
    /// The upgrade is accepted. `first_bytes` arrived after the request.
    Accepted { response: Bytes, accepted: Box<Accepted>, first_bytes: Vec<u8> },
    /// The upgrade is refused. The connection is closed after the response.
    Refused { response: Bytes },
}

impl Opening {
    pub(crate) fn new(slot: PendingSlot, peer: Peer, timeout: Duration) -> Self {
        let deadline = Instant::now() + timeout;
        Self { slot, peer, bytes: Vec::new(), deadline, admitted: false }
    }

    /// Returns the time by which the head must be complete.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn slot(&self) -> &PendingSlot {
        &self.slot
    }

    /// Adds received bytes, and decides once the head is complete.
    pub(crate) fn receive(&mut self, bytes: &[u8], accept: &Accept) -> FirstRequest {
        // The terminator may span this read and the one before.
        let seen = self.bytes.len().saturating_sub(3);
        self.bytes.extend_from_slice(bytes);
        if !is_get(&self.bytes) {
            return FirstRequest::Http;
        }

        // Parses the head once, when it is complete. Parsing it after each read would take
        // quadratic time for a client that sends one byte at a time.
        if has_end(&self.bytes[seen..]) || self.bytes.len() > MAX_HEAD_BYTES {
            return self.decide(accept);
        }

        FirstRequest::Incomplete
    }

    pub(super) fn into_parts(self) -> (PendingSlot, Peer, bool, Bytes) {
        self.slot.clear_owner();
        (self.slot, self.peer, self.admitted, self.bytes.into())
    }

    /// Decides how to serve a request whose head is complete.
    fn decide(&mut self, accept: &Accept) -> FirstRequest {
        let Some((mut parts, length)) = parse(&self.bytes) else { return FirstRequest::Http };

        let headers = &parts.headers;
        let has_body = headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::TRANSFER_ENCODING);
        let is_websocket_path = parts.uri.path() == accept.websocket_path;
        if !is_websocket_path || has_body || !is_upgrade(headers) {
            return FirstRequest::Http;
        }

        let peer = accept.trusted_proxies.client(self.peer, &parts.headers);
        debug!(address = %peer.address, path = parts.uri.path(), "upgrade requested");
        if let Err(refusal) = accept.admit(peer) {
            return refuse(accept, *refusal);
        }

        self.admitted = true;
        parts.extensions.insert(peer);

        // A shard must wait neither for a fetch of keys nor for the disk, on which tickets are
        // spent. The HTTP server then makes the check again.
        match check(&accept.shared, &mut parts, Endpoint::Protocol).now_or_never() {
            None => FirstRequest::Http,
            Some(Err(refusal)) => refuse(accept, refusal),
            Some(Ok(accepted)) if accepted.has_ticket() => FirstRequest::Http,
            Some(Ok(mut accepted)) => {
                let response = accepted.response();
                accept.shared.metrics.http_request(response.status().as_u16());
                FirstRequest::Accepted {
                    response: head(&response, None),
                    accepted: Box::new(accepted),
                    first_bytes: self.bytes.split_off(length),
                }
            }
        }
    }
}

/// Returns `true` if the bytes are a GET request or a prefix of one.
fn is_get(bytes: &[u8]) -> bool {
    let length = bytes.len().min(4);
    bytes[..length] == b"GET "[..length]
}

/// Returns `true` if the bytes contain a blank line (RFC 9112 §2.1; §2.2 allows bare line feeds).
fn has_end(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n').skip(1);
    let mut rest = lines.next();
    while let Some(line) = rest {
        rest = lines.next();
        if rest.is_some() && matches!(line, b"" | b"\r") {
            return true;
        }
    }

    false
}

/// Parses the head of a request, and returns it with its length in bytes.
///
/// Returns `None` for anything that is left to the HTTP server: other methods and versions, and
/// malformed heads.
fn parse(bytes: &[u8]) -> Option<(Parts, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = request.parse(bytes) else { return None };
    // An upgrade is an HTTP/1.1 GET request (RFC 6455 §4.1).
    if request.version != Some(1) || request.method != Some("GET") {
        return None;
    }

    let mut map = HeaderMap::with_capacity(request.headers.len());
    for header in request.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        map.append(name, HeaderValue::from_bytes(header.value).ok()?);
    }

    let uri = Uri::try_from(request.path?).ok()?;
    let (mut parts, ()) = Request::new(()).into_parts();
    (parts.method, parts.uri, parts.headers) = (Method::GET, uri, map);
    Some((parts, length))
}

/// Serializes a refusal.
fn refuse(accept: &Accept, response: Response) -> FirstRequest {
    accept.shared.metrics.http_request(response.status().as_u16());
    let (parts, body) = response.into_parts();
    let response = Response::from_parts(parts, ());
    // The body of a refusal is a problem document in memory, so it is ready at once.
    let body = axum::body::to_bytes(body, MAX_REFUSAL_BYTES).now_or_never();
    let body = body.and_then(Result::ok).unwrap_or_default();
    FirstRequest::Refused { response: [head(&response, Some(body.len())), body].concat().into() }
}

/// Serializes the head of a response (RFC 9112 §4).
///
/// With a `length`, also writes `Content-Length` and `Connection: close`.
fn head<T>(response: &axum::http::Response<T>, length: Option<usize>) -> Bytes {
    let status = response.status();
    let mut head = Vec::with_capacity(256);
    let reason = status.canonical_reason().unwrap_or_default();
    head.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
    for (name, value) in response.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }

    if let Some(length) = length {
        let lines = format!("content-length: {length}\r\nconnection: close\r\n");
        head.extend_from_slice(lines.as_bytes());
    }

    head.extend_from_slice(b"\r\n");
    head.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_a_blank_line() {
        for complete in ["GET / HTTP/1.1\r\n\r\n", "a: b\r\n\r\nmore", "a\n\n", "\r\n\r\n"] {
            assert!(has_end(complete.as_bytes()), "{complete:?}");
        }

        for incomplete in ["", "\n", "\r\n", "GET / HTTP/1.1\r\n", "a: b\r\n\r", "a\nb\n"] {
            assert!(!has_end(incomplete.as_bytes()), "{incomplete:?}");
        }
    }

    #[test]
    fn a_head_is_parsed_with_its_headers_and_length() {
        let text = b"GET /ws?a=b HTTP/1.1\r\nHost: here\r\nX: 1\r\nX: 2\r\n\r\nmore";
        let (parts, length) = parse(text).unwrap();
        assert_eq!((parts.uri.path(), parts.uri.query()), ("/ws", Some("a=b")));
        assert_eq!(parts.headers["host"], "here");
        assert_eq!(parts.headers.get_all("x").iter().count(), 2);
        assert_eq!(&text[length..], b"more");

        for other in ["POST / HTTP/1.1\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "GET /\r\n\r\n"] {
            assert!(parse(other.as_bytes()).is_none(), "{other:?}");
        }
    }
}
