//! The opening handshake on HTTP's side: who may open a socket, and the answer (RFC 6455 §4.2).

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Query},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use rejoin_core::{ClientInfo, Device, FrameEncoding};
use rejoin_protocol::{DeviceId, DeviceName, ErrorCode, SUBPROTOCOL};
use rejoin_websocket::handshake::{self, HandshakeError};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    accept::PendingSlot,
    credentials::{AuthOutcome, UrlCredentials, identify_upgrade},
    origin::is_allowed,
    peer::Peer,
    problem::Problem,
    state::Shared,
};

/// The longest name of a client's program that is kept, in bytes.
const MAX_USER_AGENT_BYTES: usize = 256;

/// The endpoint that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `rejoin.v1`; the client names the subprotocol, or none.
    Protocol,
    /// A terminal's bytes; the subprotocol does not matter.
    Raw,
}

/// A request that may become a socket.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The headers of the answer.
    headers: HeaderMap,
    /// Who opens it.
    pub(crate) opener: AuthOutcome,
    /// What is known of the client.
    pub(crate) handshake: ClientInfo,
    /// How messages look to it.
    pub(crate) form: FrameEncoding,
    /// What it is counted among.
    pub(crate) room: Room,
}

/// What a WebSocket is counted among.
#[derive(Debug)]
pub(crate) enum Room {
    /// One of the connections that there may be.
    Connection { _permit: OwnedSemaphorePermit },
    /// Those that have not authenticated, which are evicted by newer ones.
    Unauthenticated(PendingSlot),
}

/// What a client may say in the address, besides what an endpoint takes.
#[derive(Default, Deserialize)]
struct Address {
    device_id: Option<DeviceId>,
    device_name: Option<DeviceName>,
    ticket: Option<String>,
    token: Option<String>,
}

/// Checks a request, from what costs nothing to what costs a look-up.
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
    let Address { device_id, device_name, ticket, token } = query(parts).await?;
    // Before the credentials: a server without room looks at none.
    if shared.permits.available_permits() == 0 {
        return Err(no_room(shared).into_response());
    }
    let credentials = UrlCredentials { ticket, token };
    let opener = identify_upgrade(shared, parts, credentials);
    let opener = opener.await.map_err(IntoResponse::into_response)?;
    let room = match &opener {
        AuthOutcome::Known(_) | AuthOutcome::Ticket(_) => {
            let permit = Arc::clone(&shared.permits).try_acquire_owned();
            Room::Connection { _permit: permit.map_err(|_| no_room(shared).into_response())? }
        }
        AuthOutcome::Unknown | AuthOutcome::Refused(_) => {
            Room::Unauthenticated(shared.unauthenticated.enter())
        }
    };
    let handshake = ClientInfo {
        device: Device { id: device_id, name: device_name },
        address: parts.extensions.get::<Peer>().map(|peer| peer.address),
        user_agent: user_agent(&parts.headers),
    };
    let mut answer = answer(&key, subprotocol);
    let form = match (endpoint, extension(shared, &parts.headers)) {
        (Endpoint::Raw, _) => FrameEncoding::Raw,
        (Endpoint::Protocol, None) => FrameEncoding::Plain,
        (Endpoint::Protocol, Some(extension)) => {
            let extension = HeaderValue::from_static(extension);
            answer.insert(header::SEC_WEBSOCKET_EXTENSIONS, extension);
            FrameEncoding::Compressed
        }
    };
    Ok(Accepted { headers: answer, opener, handshake, form, room })
}

fn no_room(shared: &Shared) -> Problem {
    shared.hub.metrics().refused("connections");
    let detail = format!("the server has its {} connections", shared.config.max_connections);
    Problem::new(ErrorCode::Overloaded, &detail)
}

/// What the address says, with an error that names the field.
pub(super) async fn query<T>(parts: &mut Parts) -> Result<T, Response>
where
    T: for<'de> Deserialize<'de> + Send + 'static,
{
    let query = Query::<T>::from_request_parts(parts, &()).await;
    query
        .map(|Query(query)| query)
        .map_err(|error| Problem::new(ErrorCode::InvalidField, &error.body_text()).into_response())
}

impl Accepted {
    /// A connection without a request, for tests of shards.
    #[cfg(test)]
    pub(crate) fn new(
        opener: AuthOutcome,
        handshake: Handshake,
        form: Form,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let room = Room::Connection { _permit: permit };
        Self { headers: HeaderMap::new(), opener, handshake, form, room }
    }

    /// The answer that makes a WebSocket of the request.
    pub(crate) fn response(&mut self) -> Response {
        (StatusCode::SWITCHING_PROTOCOLS, std::mem::take(&mut self.headers)).into_response()
    }
}

/// Whether the client asks for `rejoin.v1`, or for nothing.
fn subprotocol(headers: &HeaderMap) -> Result<bool, Problem> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let mut offered = offered.iter().filter_map(|value| value.to_str().ok()).peekable();
    let is_silent = offered.peek().is_none();
    let is_ours = offered.flat_map(|list| list.split(',')).any(|n| n.trim() == SUBPROTOCOL);
    if !is_silent && !is_ours {
        let detail = format!("the subprotocol must be `{SUBPROTOCOL}`");
        return Err(Problem::new(ErrorCode::InvalidField, &detail));
    }
    Ok(is_ours)
}

/// The extension that is agreed on: permessage-deflate, if the client offers it.
fn extension(shared: &Shared, headers: &HeaderMap) -> Option<&'static str> {
    let offers = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
    let agreed = handshake::accept_deflate(offers.map(HeaderValue::as_bytes));
    agreed.filter(|_| shared.config.compression)
}

fn answer(key: &str, subprotocol: bool) -> HeaderMap {
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

/// Returns the name of the client's program, cut and without control characters.
pub(crate) fn user_agent(headers: &HeaderMap) -> Option<Box<str>> {
    let name = String::from_utf8_lossy(headers.get(header::USER_AGENT)?.as_bytes());
    let mut name: String = name.chars().filter(|c| !c.is_control()).collect();
    name.truncate(name.floor_char_boundary(MAX_USER_AGENT_BYTES));
    Some(name.into())
}

fn refuse(refusal: HandshakeError) -> Response {
    let problem = Problem::new(ErrorCode::InvalidField, &refusal.to_string());
    if refusal == HandshakeError::Key {
        return problem.into_response();
    }
    let mut response = problem.with_status(StatusCode::UPGRADE_REQUIRED).into_response();
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}
