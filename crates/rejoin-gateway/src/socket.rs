//! A WebSocket: the upgrade, then one loop that reads; a shard writes.

mod client;
mod request;
mod scratch;

use std::{borrow::Cow, sync::Arc};

use axum::{
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use rejoin_core::{Device, Form, Identity};
use rejoin_protocol::{DeviceId, DeviceName, ErrorCode, SUBPROTOCOL};
use rejoin_websocket::handshake::{self, Refusal};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, debug, debug_span};

use crate::{
    accept,
    gateway::Shared,
    http::{Problem, bearer, identify, is_allowed},
    net::Socket,
    socket::client::Client,
};

/// What the kernel may hold unsent for one socket: more would only be old when it arrives.
const UNSENT_BYTES: u32 = 128 * 1024;

/// What a client that sends a token with the request says of its device.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct DeviceQuery {
    device_id: Option<DeviceId>,
    device_name: Option<DeviceName>,
}

/// `GET /ws`: the opening handshake (RFC 6455 §4.2), then `rejoin.v1`.
pub(crate) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<DeviceQuery>, axum::extract::rejection::QueryRejection>,
    mut request: Request,
) -> Response {
    let accepted = match check(&shared, request.headers()) {
        Ok(accepted) => accepted,
        Err(refusal) => return *refusal,
    };
    let Query(query) = match query {
        Ok(query) => query,
        Err(error) => {
            return Problem::new(ErrorCode::InvalidField, &error.body_text()).into_response();
        }
    };
    let device = Device { id: query.device_id, name: query.device_name };
    let upgrade = hyper::upgrade::on(&mut request);
    let Accepted { key, subprotocol, identity, permit } = accepted;
    let task = Arc::clone(&shared);
    shared.hub.shutdown().spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Some((socket, first_bytes)) = accept::take(upgraded) else { return };
        let who = identity.map(|identity| (identity, device));
        start(&task, socket, &first_bytes, who, permit).await;
    });
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    if subprotocol {
        let name = HeaderValue::from_static(SUBPROTOCOL);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

struct Accepted {
    key: HeaderValue,
    /// Whether the client asked for `rejoin.v1`, or for nothing.
    subprotocol: bool,
    /// Who it is, if a header says so.
    identity: Option<Identity>,
    /// One of the connections that there may be.
    permit: OwnedSemaphorePermit,
}

fn check(shared: &Arc<Shared>, headers: &HeaderMap) -> Result<Accepted, Box<Response>> {
    let pairs = headers.iter().map(|(name, value)| (HeaderName::as_str(name), value.as_bytes()));
    let key = handshake::accept(pairs).map_err(|refusal| Box::new(refuse(refusal)))?;
    let problem = |status, code, detail: Cow<'_, str>| {
        Box::new(Problem::new(code, &detail).with_status(status).into_response())
    };
    if !is_allowed(headers, &shared.config.allowed_origins) {
        let detail = "this origin may not connect; add it to `server.allowed_origins`";
        return Err(problem(StatusCode::FORBIDDEN, ErrorCode::Forbidden, detail.into()));
    }
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let mut offered = offered.iter().filter_map(|value| value.to_str().ok()).peekable();
    let silent = offered.peek().is_none();
    let subprotocol = offered.flat_map(|list| list.split(',')).any(|n| n.trim() == SUBPROTOCOL);
    if !silent && !subprotocol {
        let detail = format!("the subprotocol must be `{SUBPROTOCOL}`");
        return Err(problem(StatusCode::BAD_REQUEST, ErrorCode::InvalidField, detail.into()));
    }
    let identity = match bearer(headers) {
        Some(_) => Some(identify(shared, headers).map_err(|p| Box::new(p.into_response()))?),
        None => shared.anonymous(),
    };
    let permit = Arc::clone(&shared.permits).try_acquire_owned().map_err(|_| {
        let detail = format!("the server has its {} connections", shared.config.max_connections);
        problem(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Overloaded, detail.into())
    })?;
    let key = HeaderValue::from_str(&key).expect("base64 is a valid header value");
    Ok(Accepted { key, subprotocol, identity, permit })
}

fn refuse(refusal: Refusal) -> Response {
    let problem = Problem::new(ErrorCode::InvalidField, &refusal.to_string());
    if refusal == Refusal::Key {
        return problem.into_response();
    }
    let mut response = problem.with_status(StatusCode::UPGRADE_REQUIRED).into_response();
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// Takes the first bytes, then leaves the socket to a task that is small while it is idle.
async fn start(
    shared: &Arc<Shared>,
    socket: Socket,
    first_bytes: &[u8],
    who: Option<(Identity, Device)>,
    permit: OwnedSemaphorePermit,
) {
    if let Err(error) = socket.limit_unsent(UNSENT_BYTES) {
        debug!(%error, "a socket without TCP_NOTSENT_LOWAT");
    }
    let (read, write) = socket.into_split();
    let outbox = shared.shards.add(write, Form::Plain);
    let mut client = Box::new(Client::new(Arc::clone(shared), read, outbox, permit));
    if let Some((identity, device)) = who {
        client.welcome(None, identity, device);
    }
    if client.begin(first_bytes).await.is_continue() {
        shared.hub.shutdown().spawn(client.run().instrument(debug_span!("connection")));
    }
}
