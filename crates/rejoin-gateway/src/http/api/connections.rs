//! Connections: list, get, close, and send events to them.

use std::sync::Arc;

use axum::{Json as Answer, extract::State, http::StatusCode};
use rejoin_core::{Connection, now_ms};
use rejoin_protocol::{
    CloseCode, ConnectionId, ConnectionInfo, ErrorCode, EventName, Position,
    message::{MessageBody, direct_message},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::{
    credentials::Caller,
    http::{
        extract::{InPath, InQuery, Json, Limit},
        paging::page,
    },
    problem::Problem,
    state::Shared,
};

/// The connections to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ConnectionFilter {
    /// Starts after this connection: the `next` of the previous page.
    #[serde(default)]
    pub(super) after: Option<ConnectionId>,
    #[serde(default)]
    #[param(inline)]
    pub(super) limit: Limit,
}

/// An event to send.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "event": "build.done", "data": { "ok": true } }))]
pub(super) struct NewEvent {
    /// The name of the event.
    #[serde(default)]
    event: Option<EventName>,
    /// Any JSON value, delivered unchanged.
    #[schema(value_type = Value)]
    data: Box<RawValue>,
}

/// The position that an event has in its stream.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Emitted {
    /// The position after the event.
    pub(super) position: Position,
}

/// A page of connections, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectionPage {
    pub(super) connections: Vec<ConnectionInfo>,
    /// The `after` of the next page. Null on the last page.
    pub(super) next: Option<ConnectionId>,
}

impl NewEvent {
    /// Returns the event as a message body of the protocol.
    pub(super) fn event(&self) -> MessageBody<'_> {
        MessageBody { name: self.event.as_ref(), data: &self.data }
    }
}

/// List all connections
///
/// For administrators.
#[utoipa::path(
    get, path = "/connections", tag = "connections", params(ConnectionFilter),
    responses((
        status = 200, description = "A page of connections, oldest first.", body = ConnectionPage,
    ))
)]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InQuery(ConnectionFilter { after, limit: Limit(limit) }): InQuery<ConnectionFilter>,
) -> Result<Answer<ConnectionPage>, Problem> {
    caller.check_admin()?;
    // One more than the limit shows whether there is another page.
    let connections = shared.hub.connections(after.as_ref(), limit + 1);
    Ok(Answer(paged(connections, None, limit)))
}

/// Get a connection
#[utoipa::path(
    get, path = "/connections/{connection}", tag = "connections",
    params(("connection" = ConnectionId, Path, description = "The connection.")),
    responses(
        (status = 200, description = "The connection.", body = ConnectionInfo),
        (status = 404, description = "`unknown_connection`."),
    )
)]
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<ConnectionId>,
) -> Result<Answer<ConnectionInfo>, Problem> {
    Ok(Answer(find(&shared, &caller, &id)?.info()))
}

/// Close a connection
///
/// Closes it with 4504, after which a client does not reconnect on its own.
#[utoipa::path(
    delete, path = "/connections/{connection}", tag = "connections",
    params(("connection" = ConnectionId, Path, description = "The connection.")),
    responses(
        (status = 204, description = "The connection is being closed."),
        (status = 404, description = "`unknown_connection`."),
    )
)]
pub(super) async fn close(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<ConnectionId>,
) -> Result<StatusCode, Problem> {
    find(&shared, &caller, &id)?.close(CloseCode::Disconnected);
    Ok(StatusCode::NO_CONTENT)
}

/// Send an event to a connection
///
/// The connection receives it as a `message` with the topic `@connection`. The event is not part of
/// a stream, so a client that reconnects does not receive it again.
#[utoipa::path(
    post, path = "/connections/{connection}/emit", tag = "connections", request_body = NewEvent,
    params(("connection" = ConnectionId, Path, description = "The connection.")),
    responses(
        (status = 204, description = "The event was sent."),
        (status = 404, description = "`unknown_connection`."),
    )
)]
pub(super) async fn emit(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<ConnectionId>,
    Json(new): Json<NewEvent>,
) -> Result<StatusCode, Problem> {
    // Goes straight into the connection's outbox: no stream retains it, so it has no position.
    find(&shared, &caller, &id)?.send_text(&direct_message(new.event(), now_ms()));
    shared.hub.metrics().emitted.inc();
    Ok(StatusCode::NO_CONTENT)
}

/// Send an event to all connections
///
/// For administrators. All connections receive it as a `message` with the topic `@all`, including
/// those that reconnect in time.
#[utoipa::path(
    post, path = "/broadcast", tag = "connections", request_body = NewEvent,
    responses((status = 200, description = "The event was sent.", body = Emitted))
)]
pub(super) async fn broadcast(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Json(new): Json<NewEvent>,
) -> Result<Answer<Emitted>, Problem> {
    caller.check_admin()?;
    let position = shared.hub.broadcast(new.event()).await?;
    shared.hub.metrics().emitted.inc();
    Ok(Answer(Emitted { position }))
}

/// Returns a page of connections, oldest first.
pub(super) fn paged(
    mut connections: Vec<Connection>,
    after: Option<&ConnectionId>,
    limit: usize,
) -> ConnectionPage {
    // Ids sort by creation time.
    connections.sort_by(|a, b| a.id().cmp(b.id()));
    let connections =
        connections.iter().filter(|connection| after.is_none_or(|after| connection.id() > after));
    let infos = connections.map(Connection::info);
    let (connections, next) = page(infos, limit, |connection| connection.id.clone());
    ConnectionPage { connections, next }
}

/// Returns the fields of a connection that the caller may see. The address and the client of
/// another user's connection are left out.
pub(super) fn info_for(caller: &Caller, connection: &Connection) -> ConnectionInfo {
    let info = connection.info();
    if may_see(caller, connection) {
        return info;
    }
    ConnectionInfo { role_context: None, address: None, user_agent: None, ..info }
}

fn may_see(caller: &Caller, connection: &Connection) -> bool {
    caller.is_admin() || *connection.user() == caller.identity.user
}

fn find(shared: &Shared, caller: &Caller, id: &ConnectionId) -> Result<Connection, Problem> {
    let connection = shared.hub.connection(id);

    // Another user's connection looks like a missing one, so that ids cannot be probed.
    let visible = connection.filter(|connection| may_see(caller, connection));
    visible.ok_or_else(|| {
        let detail = format!("there is no connection `{id}`, or it is not yours");
        Problem::new(ErrorCode::UnknownConnection, &detail)
    })
}
