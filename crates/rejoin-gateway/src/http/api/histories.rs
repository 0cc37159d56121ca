//! The histories of sessions.

use std::sync::Arc;

use axum::extract::State;
use rejoin_core::{SessionEvent, SessionHistory};
use rejoin_protocol::{SessionId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    credentials::Caller,
    http::{
        extract::{InPath, InQuery, Limit},
        paging::page,
    },
    problem::Problem,
    state::Shared,
};

/// The events to read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Starts after the event with this number: the `next` of the previous page.
    #[serde(default)]
    after: u64,
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
}

/// A page of a session's history, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventPage {
    events: Vec<Event>,
    /// The time at which the session was removed. Null if it still exists.
    removed_at: Option<u64>,
    /// The `after` of the next page. Null on the last page.
    next: Option<u64>,
}

/// A transition of a session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "number": 3, "at": 1_800_000_000_000_u64, "event": "attached", "status": "active",
    "connections": 1, "user": "ann", "reason": null
}))]
struct Event {
    /// Counts from 1 without gaps. The oldest events of a long history are dropped.
    number: u64,
    /// The time, in milliseconds since the epoch.
    at: u64,
    /// `created`, `started`, `start_failed`, `attached`, `detached`, `recovered`, `ended`, `lost`,
    /// `revived` or `removed`.
    event: &'static str,
    /// The status after the event: `starting`, `active`, `idle`, `terminated` or `error`.
    status: &'static str,
    /// The number of attached connections after the event.
    connections: u64,
    /// The user who created the session, attached to it, left it or revived it.
    user: Option<UserId>,
    /// The reason for the end, unless it is obvious.
    reason: Option<String>,
}

impl From<SessionEvent> for Event {
    fn from(event: SessionEvent) -> Self {
        let SessionEvent { number, at, event, status, active_connections, user, reason } = event;
        let (event, status) = (event.as_str(), status.as_str());
        Self { number, at, event, status, connections: active_connections, user, reason }
    }
}

/// Read the history of a session's status
///
/// Each event is on disk before its effect becomes visible. The history of a removed session is
/// kept for `sessions.retention`.
#[utoipa::path(
    get, path = "/sessions/{session}/events", tag = "sessions",
    params(("session" = SessionId, Path, description = "The session."), EventsQuery),
    responses(
        (status = 200, description = "A page of events, oldest first.", body = EventPage),
        (status = 404, description = "`unknown_session`."),
        (status = 503, description = "`overloaded`: the store does not answer."),
    )
)]
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    Caller { identity, .. }: Caller,
    InPath(id): InPath<SessionId>,
    InQuery(EventsQuery { after, limit: Limit(limit) }): InQuery<EventsQuery>,
) -> Result<axum::Json<EventPage>, Problem> {
    // One more than the limit shows whether there is another page.
    let history = shared.hub.session_history(&id, &identity, after, limit + 1).await?;
    let SessionHistory { row, events } = history;
    let events = events.into_iter().map(Event::from);
    let (events, next) = page(events, limit, |event| event.number);
    Ok(axum::Json(EventPage { events, removed_at: row.removed_at, next }))
}
