//! The first request of a connection, read by its shard: an upgrade is answered at once, all else
//! goes to the HTTP server.

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
    accept::{Accept, PendingSlot, service::asks_for_websocket},
    peer::Peer,
    socket::{Accepted, Endpoint, check},
};

/// The head of a request at most, in bytes; hyper asks for 8 KiB or more.
pub(crate) const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Headers of a request that is answered here; the HTTP server takes more.
const MAX_HEADERS: usize = 64;
/// A refusal at most, in bytes.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// A connection whose first request is being read.
#[derive(Debug)]
pub(crate) struct Opening {
    slot: PendingSlot,
    peer: Peer,
    bytes: Vec<u8>,
    deadline: Instant,
    /// The request was counted by the address limit.
    admitted: bool,
}

/// What becomes of the first request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Its head is not complete.
    Incomplete,
    /// The HTTP server serves it.
    Http,
    /// A WebSocket: the answer, and the bytes after the request.
    Accepted { answer: Bytes, accepted: Box<Accepted>, first_bytes: Vec<u8> },
    /// The answer, after which the connection is closed.
    Refused { answer: Bytes },
}

impl Opening {
    pub(crate) fn new(slot: PendingSlot, peer: Peer, timeout: Duration) -> Self {
        let deadline = Instant::now() + timeout;
        Self { slot, peer, bytes: Vec::new(), deadline, admitted: false }
    }

    /// When the request's head must be complete.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn slot(&self) -> &PendingSlot {
        &self.slot
    }

    /// Takes bytes that have arrived.
    pub(crate) fn receive(&mut self, bytes: &[u8], accept: &Accept) -> Outcome {
        // The end of the head may have begun in the bytes before.
        let seen = self.bytes.len().saturating_sub(3);
        self.bytes.extend_from_slice(bytes);
        if !is_get(&self.bytes) {
            return Outcome::Http;
        }
        // Parsed once, however slowly it arrives.
        if has_end(&self.bytes[seen..]) || self.bytes.len() > MAX_HEAD_BYTES {
            return self.answer(accept);
        }
        Outcome::Incomplete
    }

    pub(super) fn into_parts(self) -> (PendingSlot, Peer, bool, Bytes) {
        self.slot.leave_shard();
        (self.slot, self.peer, self.admitted, self.bytes.into())
    }

    fn answer(&mut self, accept: &Accept) -> Outcome {
        let Some((mut parts, length)) = parse(&self.bytes) else { return Outcome::Http };
        let headers = &parts.headers;
        let has_body = headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::TRANSFER_ENCODING);
        let is_here = parts.uri.path() == accept.websocket_path;
        if !is_here || has_body || !asks_for_websocket(headers) {
            return Outcome::Http;
        }
        let peer = accept.trusted_proxies.client(self.peer, &parts.headers);
        debug!(address = %peer.address, path = parts.uri.path(), "upgrade requested");
        if let Err(refusal) = accept.admit(peer) {
            return refuse(accept, *refusal);
        }
        self.admitted = true;
        parts.extensions.insert(peer);
        // It waits only where keys must be fetched, which is the HTTP server's to wait for.
        match check(&accept.shared, &mut parts, Endpoint::Protocol).now_or_never() {
            None => Outcome::Http,
            Some(Err(refusal)) => refuse(accept, refusal),
            Some(Ok(mut accepted)) => {
                let response = accepted.response();
                accept.shared.hub.metrics().http_request(response.status().as_u16());
                Outcome::Accepted {
                    answer: head(&response, None),
                    accepted: Box::new(accepted),
                    first_bytes: self.bytes.split_off(length),
                }
            }
        }
    }
}

fn is_get(bytes: &[u8]) -> bool {
    let length = bytes.len().min(4);
    bytes[..length] == b"GET "[..length]
}

/// Whether a blank line is in the bytes (RFC 9112 §2.1, and bare line feeds by §2.2).
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

/// The head and its length; `None` if it is not one that is answered here.
fn parse(bytes: &[u8]) -> Option<(Parts, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = request.parse(bytes) else { return None };
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

fn refuse(accept: &Accept, response: Response) -> Outcome {
    accept.shared.hub.metrics().http_request(response.status().as_u16());
    let (parts, body) = response.into_parts();
    let response = Response::from_parts(parts, ());
    // A refusal is a problem in memory, so it is there at once.
    let body = axum::body::to_bytes(body, MAX_REFUSAL_BYTES).now_or_never();
    let body = body.and_then(Result::ok).unwrap_or_default();
    Outcome::Refused { answer: [head(&response, Some(body.len())), body].concat().into() }
}

/// Lays out the head of an answer (RFC 9112 §4). With a length, the connection is closed after
/// it.
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
    fn the_end_of_a_head_is_a_blank_line() {
        for complete in ["GET / HTTP/1.1\r\n\r\n", "a: b\r\n\r\nmore", "a\n\n", "\r\n\r\n"] {
            assert!(has_end(complete.as_bytes()), "{complete:?}");
        }
        for incomplete in ["", "\n", "\r\n", "GET / HTTP/1.1\r\n", "a: b\r\n\r", "a\nb\n"] {
            assert!(!has_end(incomplete.as_bytes()), "{incomplete:?}");
        }
    }

    #[test]
    fn a_head_is_read_with_its_headers_and_its_length() {
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
