//! Users and their devices: seen, told something, disconnected.

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use rejoin_protocol::{CloseCode, DeviceId, Subject, UserId, message::PresenceState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    gateway::Shared,
    http::{
        Problem,
        api::{
            connections::{ConnectionFilter, Emitted, NewEvent, paged},
            sessions::ConnectionPage,
        },
        extract::{Caller, InPath, InQuery, Json, Limit, OptionalJson},
    },
};

/// Which of a user's connections to end.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(example = json!({ "device": "phone" }))]
pub(super) struct Disconnect {
    /// Only those of this device.
    #[serde(default)]
    device: Option<DeviceId>,
}

/// How many connections were ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Disconnected {
    disconnected: usize,
}

/// List a user's connections
#[utoipa::path(
    get, path = "/users/{user}/connections", tag = "users",
    params(("user" = UserId, Path, description = "The user."), ConnectionFilter),
    responses((status = 200, description = "A page of them, oldest first.", body = ConnectionPage))
)]
pub(super) async fn connections(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(user): InPath<UserId>,
    InQuery(ConnectionFilter { after, limit: Limit(limit) }): InQuery<ConnectionFilter>,
) -> Result<Answer<ConnectionPage>, Problem> {
    caller.check_user(&user)?;
    Ok(Answer(paged(shared.hub.connections_of(&user), after.as_ref(), limit)))
}

/// List the connections of a user's device
#[utoipa::path(
    get, path = "/users/{user}/devices/{device}/connections", tag = "users",
    params(
        ("user" = UserId, Path, description = "The user."),
        ("device" = DeviceId, Path, description = "The device."),
        ConnectionFilter,
    ),
    responses((status = 200, description = "A page of them, oldest first.", body = ConnectionPage))
)]
pub(super) async fn device_connections(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath((user, device)): InPath<(UserId, DeviceId)>,
    InQuery(ConnectionFilter { after, limit: Limit(limit) }): InQuery<ConnectionFilter>,
) -> Result<Answer<ConnectionPage>, Problem> {
    caller.check_user(&user)?;
    let connections = shared.hub.connections_of_device(&user, &device);
    Ok(Answer(paged(connections, after.as_ref(), limit)))
}

/// Tell a user something
///
/// Each of the user's connections gets it as a `message` with the topic `@user`, those that come
/// back in time as well.
#[utoipa::path(
    post, path = "/users/{user}/emit", tag = "users", request_body = NewEvent,
    params(("user" = UserId, Path, description = "The user.")),
    responses((status = 200, description = "It is on its way.", body = Emitted))
)]
pub(super) async fn emit(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(user): InPath<UserId>,
    Json(new): Json<NewEvent>,
) -> Result<Answer<Emitted>, Problem> {
    caller.check_user(&user)?;
    let position = shared.hub.emit_to_user(&user, new.event()).await?;
    Ok(Answer(Emitted { position }))
}

/// Tell a user's device something
///
/// Each connection of the device gets it as a `message` with the topic `@device`, those that come
/// back in time as well.
#[utoipa::path(
    post, path = "/users/{user}/devices/{device}/emit", tag = "users", request_body = NewEvent,
    params(
        ("user" = UserId, Path, description = "The user."),
        ("device" = DeviceId, Path, description = "The device."),
    ),
    responses((status = 200, description = "It is on its way.", body = Emitted))
)]
pub(super) async fn emit_to_device(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath((user, device)): InPath<(UserId, DeviceId)>,
    Json(new): Json<NewEvent>,
) -> Result<Answer<Emitted>, Problem> {
    caller.check_user(&user)?;
    let position = shared.hub.emit_to_device(&user, &device, new.event()).await?;
    Ok(Answer(Emitted { position }))
}

/// Disconnect a user
///
/// Ends the connections of all devices, or of one, with 4504. The user may come back with a token
/// that is good: see `POST /revocations`.
#[utoipa::path(
    post, path = "/users/{user}/disconnect", tag = "users",
    request_body = inline(Option<Disconnect>),
    params(("user" = UserId, Path, description = "The user.")),
    responses((status = 200, description = "They are told to end.", body = Disconnected))
)]
pub(super) async fn disconnect(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(user): InPath<UserId>,
    OptionalJson(Disconnect { device }): OptionalJson<Disconnect>,
) -> Result<Answer<Disconnected>, Problem> {
    caller.check_user(&user)?;
    let connections = match &device {
        Some(device) => shared.hub.connections_of_device(&user, device),
        None => shared.hub.connections_of(&user),
    };
    for connection in &connections {
        connection.close(CloseCode::Disconnected);
    }
    Ok(Answer(Disconnected { disconnected: connections.len() }))
}

/// See whether a user is there
#[utoipa::path(
    get, path = "/users/{user}/presence", tag = "users",
    params(("user" = UserId, Path, description = "The user.")),
    responses((status = 200, description = "The user's devices.", body = PresenceState))
)]
pub(super) async fn presence(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(user): InPath<UserId>,
) -> Result<Answer<PresenceState>, Problem> {
    caller.check_user(&user)?;
    Ok(Answer(shared.hub.presence(&caller.identity, &Subject::User(user))?))
}
