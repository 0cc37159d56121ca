//! The opening handshake: the checks of an upgrade, and the response (RFC 6455 §4.2).
//!
//! [`check`] handles both kinds of upgrade requests: those that a shard reads itself, and those
//! that hyper reads on the general runtime.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Query},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use rejoin_auth::HeldTicket;
use rejoin_core::{ClientInfo, Device, FrameEncoding};
use rejoin_protocol::{DeviceId, DeviceName, ErrorCode, SUBPROTOCOL};
use rejoin_websocket::handshake::{self, HandshakeError};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tracing::error;

use crate::{
    credentials::{AuthOutcome, UrlCredentials, identify_upgrade},
    origin::is_allowed,
    peer::Peer,
    pending::PendingSlot,
    problem::Problem,
    state::Shared,
};

/// The length to which a `User-Agent` is truncated, in bytes.
const MAX_USER_AGENT_BYTES: usize = 256;

/// The kind of endpoint that a request addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// An endpoint that speaks `rejoin.v1`. The client offers this subprotocol, or none.
    Protocol,
    /// A raw endpoint. Subprotocols are ignored.
    Raw,
}

/// An upgrade that passed all checks.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The headers of the response.
    headers: HeaderMap,
    /// The result of checking the request's credentials.
    pub(crate) auth: AuthOutcome,
    /// The ticket of the request, which must be spent before the response.
    ticket: Option<HeldTicket>,
    /// The device, address and program that the client named.
    pub(crate) handshake: ClientInfo,
    /// The encoding of the frames that the client receives.
    pub(crate) encoding: FrameEncoding,
    /// The capacity that the WebSocket holds.
    pub(crate) admission: Admission,
}

/// The capacity that a WebSocket holds until it is dropped.
#[derive(Debug)]
pub(crate) enum Admission {
    /// A connection permit: one of `max_connections`.
    Connection { _permit: OwnedSemaphorePermit },
    /// A slot among the unauthenticated connections, which newer ones may evict.
    Unauthenticated(PendingSlot),
}

/// The query parameters of every upgrade.
#[derive(Default, Deserialize)]
struct UpgradeQuery {
    device_id: Option<DeviceId>,
    device_name: Option<DeviceName>,
    ticket: Option<String>,
    token: Option<String>,
}

/// Checks an upgrade request, cheapest checks first.
///
/// Only waits if keys must be fetched to verify a token.
///
/// # Errors
/// The response that refuses the upgrade.
pub(crate) async fn check(
    shared: &Arc<Shared>,
    parts: &mut Parts,
    endpoint: Endpoint,
) -> Result<Accepted, Response> {
    shared.hosts.check(&parts.headers).map_err(IntoResponse::into_response)?;
    let headers = &parts.headers;
    let pairs = headers.iter().map(|(name, value)| (HeaderName::as_str(name), value.as_bytes()));
    let key = handshake::accept(pairs).map_err(refuse)?;
    if !is_allowed(headers, &shared.config.allowed_origins) {
        let detail = "this origin may not connect; add it to `server.allowed_origins`";
        return Err(Problem::new(ErrorCode::Forbidden, detail).into_response());
    }

    let subprotocol = match endpoint {
        Endpoint::Protocol => subprotocol(headers).map_err(IntoResponse::into_response)?,
        Endpoint::Raw => false,
    };

    let UpgradeQuery { device_id, device_name, ticket, token } = query(parts).await?;

    // Checked before the credentials: a full server must not spend time on signatures.
    if shared.permits.available_permits() == 0 {
        return Err(overloaded(shared).into_response());
    }

    let credentials = UrlCredentials { ticket, token };
    let identified = identify_upgrade(shared, parts, credentials);
    let (auth, ticket) = identified.await.map_err(IntoResponse::into_response)?;

    // An unauthenticated socket takes no permit, with which it could keep users out until its
    // deadline.
    let admission = match &auth {
        AuthOutcome::Known(_) => {
            let permit = Arc::clone(&shared.permits).try_acquire_owned();
            Admission::Connection {
                _permit: permit.map_err(|_| overloaded(shared).into_response())?,
            }
        }
        AuthOutcome::Unknown | AuthOutcome::Refused(_) => {
            Admission::Unauthenticated(shared.unauthenticated.acquire())
        }
    };

    let handshake = ClientInfo {
        device: Device { id: device_id, name: device_name },
        address: parts.extensions.get::<Peer>().map(|peer| peer.address),
        user_agent: user_agent(&parts.headers),
    };

    let mut response_headers = response_headers(&key, subprotocol);
    let encoding = match (endpoint, extension(shared, &parts.headers)) {
        (Endpoint::Raw, _) => FrameEncoding::Raw,
        (Endpoint::Protocol, None) => FrameEncoding::Plain,
        (Endpoint::Protocol, Some(extension)) => {
            let extension = HeaderValue::from_static(extension);
            response_headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, extension);
            FrameEncoding::Compressed
        }
    };

    Ok(Accepted { headers: response_headers, auth, ticket, handshake, encoding, admission })
}

/// Counts and returns the refusal for a server at its connection limit.
fn overloaded(shared: &Shared) -> Problem {
    shared.metrics.refused("connections");
    let max = shared.config.max_connections;
    let detail = format!("all {max} connections are in use; try again later");
    Problem::new(ErrorCode::Overloaded, &detail)
}

/// Parses the query of a request.
///
/// # Errors
/// An `invalid_field` response, which names the parameter.
pub(crate) async fn query<T>(parts: &mut Parts) -> Result<T, Response>
where
    T: for<'de> Deserialize<'de> + Send + 'static,
{
    let query = Query::<T>::from_request_parts(parts, &()).await;
    query
        .map(|Query(query)| query)
        .map_err(|error| Problem::new(ErrorCode::InvalidField, &error.body_text()).into_response())
}

impl Accepted {
    /// Creates an accepted upgrade without a request, for tests of shards.
    #[cfg(test)]
    pub(crate) fn new(
        auth: AuthOutcome,
        handshake: ClientInfo,
        encoding: FrameEncoding,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let admission = Admission::Connection { _permit: permit };
        Self { headers: HeaderMap::new(), auth, ticket: None, handshake, encoding, admission }
    }

    /// Returns `true` if [`spend_ticket`](Self::spend_ticket) must be called, which may wait.
    pub(crate) fn has_ticket(&self) -> bool {
        self.ticket.is_some()
    }

    /// Spends the ticket of the request, if it has one. After this, no request can use it again.
    ///
    /// # Errors
    /// `overloaded` if that cannot be written to the disk. The ticket stays valid.
    pub(crate) async fn spend_ticket(&mut self) -> Result<(), Problem> {
        let Some(ticket) = self.ticket.take() else { return Ok(()) };
        ticket.spend().await.map_err(|error| {
            error!(%error, "a ticket cannot be spent");
            Problem::new(ErrorCode::Overloaded, "tickets cannot be used now; try again later")
        })
    }

    /// Takes the response that switches to the WebSocket protocol.
    pub(crate) fn response(&mut self) -> Response {
        debug_assert!(self.ticket.is_none(), "a ticket is spent before the response");
        (StatusCode::SWITCHING_PROTOCOLS, std::mem::take(&mut self.headers)).into_response()
    }
}

/// Returns `true` if the client offers `rejoin.v1`, and `false` if it offers no subprotocol.
///
/// # Errors
/// If it offers only other subprotocols.
fn subprotocol(headers: &HeaderMap) -> Result<bool, Problem> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let mut offered = offered.iter().filter_map(|value| value.to_str().ok()).peekable();
    let has_none = offered.peek().is_none();
    let is_ours = offered.flat_map(|list| list.split(',')).any(|n| n.trim() == SUBPROTOCOL);
    if !has_none && !is_ours {
        let detail = format!("offer the subprotocol `{SUBPROTOCOL}`, or none");
        return Err(Problem::new(ErrorCode::InvalidField, &detail));
    }

    Ok(is_ours)
}

/// Returns the negotiated extension: permessage-deflate, if offered and enabled.
fn extension(shared: &Shared, headers: &HeaderMap) -> Option<&'static str> {
    let offers = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
    let agreed = handshake::accept_deflate(offers.map(HeaderValue::as_bytes));
    agreed.filter(|_| shared.config.compression)
}

/// Returns the headers of a 101 response.
fn response_headers(key: &str, subprotocol: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let key = HeaderValue::from_str(key).expect("base64 is a valid header value");
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    if subprotocol {
        let name = HeaderValue::from_static(SUBPROTOCOL);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }

    headers
}

/// Returns the `User-Agent`, truncated and without control characters.
pub(crate) fn user_agent(headers: &HeaderMap) -> Option<Box<str>> {
    let name = String::from_utf8_lossy(headers.get(header::USER_AGENT)?.as_bytes());
    let mut name: String = name.chars().filter(|c| !c.is_control()).collect();
    name.truncate(name.floor_char_boundary(MAX_USER_AGENT_BYTES));
    Some(name.into())
}

/// Returns the response to a request that is not a valid upgrade.
fn refuse(refusal: HandshakeError) -> Response {
    let problem = Problem::new(ErrorCode::InvalidField, &refusal.to_string());
    if refusal == HandshakeError::Key {
        return problem.into_response();
    }

    // Status 426 names the expected protocol (RFC 9110 §15.5.22) and version (RFC 6455 §4.4).
    let mut response = problem.with_status(StatusCode::UPGRADE_REQUIRED).into_response();
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}
