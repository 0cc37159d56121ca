//! Users and their devices: connections, presence, events.

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use rejoin_protocol::{CloseCode, DeviceId, Subject, UserId, message::PresenceState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    credentials::Caller,
    http::{
        api::connections::{ConnectionFilter, ConnectionPage, Emitted, NewEvent, paged},
        extract::{InPath, InQuery, Json, Limit, OptionalJson},
    },
    problem::Problem,
    state::Shared,
};

/// The connections of a user to close.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(example = json!({ "device": "phone" }))]
pub(super) struct Disconnect {
    /// Only connections of this device.
    #[serde(default)]
    device: Option<DeviceId>,
}

/// The number of connections that were closed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Disconnected {
    disconnected: usize,
}

/// List a user's connections
#[utoipa::path(
    get, path = "/users/{user}/connections", tag = "users",
    params(("user" = UserId, Path, description = "The user."), ConnectionFilter),
    responses((
        status = 200, description = "A page of connections, oldest first.", body = ConnectionPage,
    ))
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

/// List the connections of a device
#[utoipa::path(
    get, path = "/users/{user}/devices/{device}/connections", tag = "users",
    params(
        ("user" = UserId, Path, description = "The user."),
        ("device" = DeviceId, Path, description = "The device."),
        ConnectionFilter,
    ),
    responses((
        status = 200, description = "A page of connections, oldest first.", body = ConnectionPage,
    ))
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

/// Send an event to a user
///
/// All connections of the user receive it as a `message` with the topic `@user`, including those
/// that reconnect in time.
#[utoipa::path(
    post, path = "/users/{user}/emit", tag = "users", request_body = NewEvent,
    params(("user" = UserId, Path, description = "The user.")),
    responses((status = 200, description = "The event was sent.", body = Emitted))
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

/// Send an event to a device
///
/// All connections of the device receive it as a `message` with the topic `@device`, including
/// those that reconnect in time.
#[utoipa::path(
    post, path = "/users/{user}/devices/{device}/emit", tag = "users", request_body = NewEvent,
    params(
        ("user" = UserId, Path, description = "The user."),
        ("device" = DeviceId, Path, description = "The device."),
    ),
    responses((status = 200, description = "The event was sent.", body = Emitted))
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
/// Closes the connections of all devices, or of one, with 4504. The user may connect again with a
/// valid token. Use `POST /revocations` to prevent that.
#[utoipa::path(
    post, path = "/users/{user}/disconnect", tag = "users",
    request_body = inline(Option<Disconnect>),
    params(("user" = UserId, Path, description = "The user.")),
    responses((
        status = 200, description = "The connections are being closed.", body = Disconnected,
    ))
)]
pub(super) async fn disconnect(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(user): InPath<UserId>,
    OptionalJson(Disconnect { device }): OptionalJson<Disconnect>,
) -> Result<Answer<Disconnected>, Problem> {
    caller.check_user(&user)?;

    // Connections that open after this stay open. Only a revocation prevents new ones.
    let connections = match &device {
        Some(device) => shared.hub.connections_of_device(&user, device),
        None => shared.hub.connections_of(&user),
    };
    for connection in &connections {
        connection.close(CloseCode::Disconnected);
    }
    Ok(Answer(Disconnected { disconnected: connections.len() }))
}

/// Get the presence of a user
#[utoipa::path(
    get, path = "/users/{user}/presence", tag = "users",
    params(("user" = UserId, Path, description = "The user.")),
    responses((status = 200, description = "The user's connected devices.", body = PresenceState))
)]
pub(super) async fn presence(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(user): InPath<UserId>,
) -> Result<Answer<PresenceState>, Problem> {
    caller.check_user(&user)?;
    Ok(Answer(shared.hub.presence(&caller.identity, &Subject::User(user))?))
}
