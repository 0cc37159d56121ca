//! Connections: listed, looked at, told something, ended.

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
    gateway::Shared,
    http::{
        Problem,
        api::sessions::ConnectionPage,
        extract::{Caller, InPath, InQuery, Json, Limit},
        paging::page,
    },
};

/// Which connections to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ConnectionFilter {
    /// Only those after this one: the `next` of the page before.
    #[serde(default)]
    pub(super) after: Option<ConnectionId>,
    #[serde(default)]
    #[param(inline)]
    pub(super) limit: Limit,
}

/// What to tell.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "event": "build.done", "data": { "ok": true } }))]
pub(super) struct NewEvent {
    /// What it is about.
    #[serde(default)]
    event: Option<EventName>,
    /// Any JSON, passed on as it is.
    #[schema(value_type = Value)]
    data: Box<RawValue>,
}

/// Where what was told stands in its stream.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Emitted {
    /// The position after it.
    pub(super) position: Position,
}

impl NewEvent {
    pub(super) fn event(&self) -> MessageBody<'_> {
        MessageBody { name: self.event.as_ref(), data: &self.data }
    }
}

/// List all connections
///
/// For administrators.
#[utoipa::path(
    get, path = "/connections", tag = "connections", params(ConnectionFilter),
    responses((status = 200, description = "A page of them, oldest first.", body = ConnectionPage))
)]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InQuery(ConnectionFilter { after, limit: Limit(limit) }): InQuery<ConnectionFilter>,
) -> Result<Answer<ConnectionPage>, Problem> {
    caller.check_admin()?;
    // One more than fits says whether there is another page.
    let connections = shared.hub.connections(after.as_ref(), limit + 1);
    Ok(Answer(paged(connections, None, limit)))
}

/// Look at a connection
#[utoipa::path(
    get, path = "/connections/{connection}", tag = "connections",
    params(("connection" = ConnectionId, Path, description = "The connection.")),
    responses(
        (status = 200, description = "What it is.", body = ConnectionInfo),
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

/// End a connection
///
/// It is closed with 4504, which tells its client not to come back by itself.
#[utoipa::path(
    delete, path = "/connections/{connection}", tag = "connections",
    params(("connection" = ConnectionId, Path, description = "The connection.")),
    responses(
        (status = 204, description = "It is told to end."),
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

/// Tell a connection something
///
/// It comes as a `message` with the topic `@connection`, if the connection is there: it is in no
/// stream that could be read again.
#[utoipa::path(
    post, path = "/connections/{connection}/emit", tag = "connections", request_body = NewEvent,
    params(("connection" = ConnectionId, Path, description = "The connection.")),
    responses(
        (status = 204, description = "It is on its way."),
        (status = 404, description = "`unknown_connection`."),
    )
)]
pub(super) async fn emit(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<ConnectionId>,
    Json(new): Json<NewEvent>,
) -> Result<StatusCode, Problem> {
    find(&shared, &caller, &id)?.send_text(&direct_message(new.event(), now_ms()));
    shared.hub.metrics().emitted.inc();
    Ok(StatusCode::NO_CONTENT)
}

/// Tell everyone something
///
/// For administrators. Every connection gets it as a `message` with the topic `@all`, those that
/// come back in time as well.
#[utoipa::path(
    post, path = "/broadcast", tag = "connections", request_body = NewEvent,
    responses((status = 200, description = "It is on its way.", body = Emitted))
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

/// A page of connections, oldest first.
pub(super) fn paged(
    mut connections: Vec<Connection>,
    after: Option<&ConnectionId>,
    limit: usize,
) -> ConnectionPage {
    // Ids are in the order of time.
    connections.sort_by(|a, b| a.id().cmp(b.id()));
    let connections =
        connections.iter().filter(|connection| after.is_none_or(|after| connection.id() > after));
    let infos = connections.map(Connection::info);
    let (connections, next) = page(infos, limit, |connection| connection.id.clone());
    ConnectionPage { connections, next }
}

/// What the caller may know of a connection: of another user's, who it is, and not from where.
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
    let visible = connection.filter(|connection| may_see(caller, connection));
    visible.ok_or_else(|| {
        let detail = format!("there is no connection `{id}`, or it is not yours");
        Problem::new(ErrorCode::UnknownConnection, &detail)
    })
}
