//! What exists, for lists.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Method},
};
use rejoin_core::Session;
use serde_json::{Value, json};

use crate::{
    gateway::Shared,
    http::{Problem, identify},
};

/// `GET /api/v1/sessions`: the caller's sessions, oldest first.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let identity = identify(&shared, &method, &headers).await?;
    let sessions: Vec<_> = shared.hub.sessions(&identity).iter().map(Session::info).collect();
    Ok(Json(json!({ "sessions": sessions })))
}

/// `GET /api/v1/profiles`: what the caller may start.
pub(super) async fn profiles(
    State(shared): State<Arc<Shared>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let identity = identify(&shared, &method, &headers).await?;
    Ok(Json(json!({ "profiles": shared.hub.profiles(&identity) })))
}
