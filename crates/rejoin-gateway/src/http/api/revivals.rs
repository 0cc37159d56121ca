//! Sessions that replace lost ones.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use rejoin_core::SessionRight;
use rejoin_protocol::{SessionId, SessionInfo};

use super::sessions;
use crate::{credentials::Caller, http::extract::InPath, problem::Problem, state::Shared};

/// Revive a session whose program was lost
///
/// Starts a session with the same profile, name, directory and size, for example after a restart of
/// the machine. Its `revived_from` is the lost session, which stays with its last screen, and whose
/// `revived_as` is the new one. Only the owner can revive a session, and only once.
#[utoipa::path(
    post, path = "/sessions/{session}/revive", tag = "sessions",
    params(("session" = SessionId, Path, description = "The lost session.")),
    responses(
        (status = 201, description = "The new session.", body = SessionInfo,
         headers(("Location" = String, description = "The URL of the new session."))),
        (status = 403, description = "`forbidden`: the session belongs to another user."),
        (status = 404, description = "`unknown_session`. `unknown_profile`: the configuration has \
         the profile no more."),
        (status = 409, description = "`session_not_lost`: the program runs or ended by itself, or \
         another session has replaced it. `start_failed`."),
        (status = 429, description = "`too_many_sessions`."),
    )
)]
pub(super) async fn revive(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<SessionId>,
) -> Result<Response, Problem> {
    let lost = sessions::find(&shared, &caller, &id, SessionRight::Write)?;
    let session = shared.hub.revive_terminal(&caller, &lost).await?;
    Ok(sessions::created(&shared, &session))
}
