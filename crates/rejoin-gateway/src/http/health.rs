//! Health checks and metrics.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use rejoin_core::{Caps, Identity, Session};
use rejoin_protocol::{SessionKind, SessionStatus, UserId};

use crate::{credentials::Caller, problem::Problem, state::Shared};

/// The media type of OpenMetrics text, the format that the library writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const STATUSES: [(SessionStatus, &str); 4] = [
    (SessionStatus::Active, "active"),
    (SessionStatus::Idle, "idle"),
    (SessionStatus::Terminated, "terminated"),
    (SessionStatus::Error, "error"),
];

/// Serves `GET /healthz`: the process is alive.
pub(super) async fn healthz() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], "ok\n")
}

/// Serves `GET /readyz`: the server accepts connections.
pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let headers = [(header::CACHE_CONTROL, "no-store")];
    // Fails before the listener closes, so that requests through a load balancer are not lost.
    if shared.readiness.has_ended() || shared.shutdown.has_begun() {
        return (StatusCode::SERVICE_UNAVAILABLE, headers, "stopping\n").into_response();
    }
    (headers, "ready\n").into_response()
}

/// Serves `GET /metrics`, for administrators unless `public_metrics` is set.
pub(super) async fn metrics(
    State(shared): State<Arc<Shared>>,
    caller: Result<Caller, Problem>,
) -> Result<Response, Problem> {
    if !shared.config.public_metrics {
        caller?.check_admin()?;
    }

    count_sessions(&shared);
    let headers = [(header::CONTENT_TYPE, OPEN_METRICS), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, shared.hub.metrics().text()).into_response())
}

/// Sets the gauge of sessions by status. Statuses change too often to update it on each change.
fn count_sessions(shared: &Shared) {
    let reader = UserId::new("metrics").expect("a valid user id");
    let sessions = shared.hub.sessions(&Identity::new(reader, Caps::admin()));
    let infos: Vec<_> = sessions.iter().map(Session::info).collect();

    for (status, name) in STATUSES {
        let matches = |kind, status_of| kind == SessionKind::Terminal && status_of == status;
        let count = infos.iter().filter(|info| matches(info.kind, info.status)).count();
        let labels = [("kind", "terminal"), ("status", name)];
        let gauge = shared.hub.metrics().sessions.get_or_create(&labels);
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
