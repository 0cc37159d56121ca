//! The raw endpoints: a session for any WebSocket client, without the `rejoin.v1` protocol.
//!
//! `/ws/{profile}/{session}` and `/ws/session/{session}` send the snapshot and then the output as
//! binary messages. The payload of each message from the client, text or binary, is input.

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use rejoin_core::{CreateTerminal, Identity, Session, SessionRight};
use rejoin_protocol::{ErrorCode, ProfileName, Role, SessionId, TerminalSize, message::ErrorBody};
use serde::Deserialize;

use crate::{
    credentials::{AuthOutcome, Caller},
    endpoint::Upgrades,
    problem::Problem,
    socket::{self, Endpoint, RawAttach},
    state::Shared,
};

/// The path segment that matches any profile.
const ANY_PROFILE: &str = "session";

/// The query parameters of a raw endpoint, in addition to those of every upgrade.
#[derive(Debug, Deserialize)]
struct RawQuery {
    /// Creates the session if it does not exist.
    #[serde(default)]
    create: bool,
    /// The highest role to attach with. A `viewer` cannot type.
    #[serde(default)]
    role: Option<Role>,
    cols: Option<u16>,
    rows: Option<u16>,
}

/// Handles `GET /ws/{profile}/{session}`.
pub(crate) async fn upgrade(
    State(upgrades): State<Upgrades>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let shared = &upgrades.shared;
    let (mut parts, body) = request.into_parts();
    // Checked before the path, so that a refused client learns nothing about sessions.
    let accepted = match socket::check(shared, &mut parts, Endpoint::Raw).await {
        Ok(accepted) => accepted,
        Err(refusal) => return refusal,
    };

    let query = match socket::query::<RawQuery>(&mut parts).await {
        Ok(query) => query,
        Err(refusal) => return refusal,
    };

    let path = path.map_err(|error| Problem::new(ErrorCode::InvalidField, &error.body_text()));
    let found = match path {
        Ok(Path((profile, session))) => {
            find_or_create(shared, &accepted.auth, &profile, &session, &query).await
        }
        Err(problem) => Err(problem),
    };

    match found {
        Ok(attach) => {
            let request = Request::from_parts(parts, body);
            upgrades.adopt(request, accepted, Some(attach)).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Finds the session, or creates it if the query asks for that.
async fn find_or_create(
    shared: &Shared,
    auth: &AuthOutcome,
    profile: &str,
    session: &str,
    query: &RawQuery,
) -> Result<RawAttach, Problem> {
    let identity = match auth {
        AuthOutcome::Known(identity) => identity.clone(),
        AuthOutcome::Unknown => {
            let detail = "send `Authorization: Bearer TOKEN`, or add `?ticket=`";
            return Err(Problem::new(ErrorCode::NotAuthenticated, detail));
        }
        AuthOutcome::Refused(error) => {
            return Err(Problem::new(error.codes().0, &error.to_string()));
        }
    };

    let invalid = |error: String| Problem::new(ErrorCode::InvalidField, &error);
    let id = SessionId::new(session).map_err(|error| invalid(error.to_string()))?;
    let profile = match profile {
        ANY_PROFILE => None,
        name => Some(ProfileName::new(name).map_err(|error| invalid(error.to_string()))?),
    };

    let size =
        match (query.cols, query.rows) {
            (None, None) => None,
            (Some(cols), Some(rows)) => Some(TerminalSize::new(cols, rows).ok_or_else(|| {
                invalid("`cols` must be 1 to 1000, and `rows` 1 to 500".to_owned())
            })?),
            _ => return Err(invalid("send both `cols` and `rows`, or neither".to_owned())),
        };

    // Another user's session looks like a missing one. Creating it then fails with a conflict.
    let found = find(shared, &identity, &id, profile.as_ref(), query.role);
    let (session, role) = match found {
        Err(error) if error.code == ErrorCode::UnknownSession && query.create => {
            let Some(profile) = profile else {
                let detail = "`create` needs a profile in the path, such as /ws/terminal/SESSION";
                return Err(invalid(detail.to_owned()));
            };

            // Checked before the session is created, so that a user who may not attach to it does
            // not leave a running program behind.
            let role = identity.role(&identity.user, &profile, query.role);
            let role = role.ok_or_else(|| {
                let detail =
                    format!("the token does not allow attaching to sessions of `{profile}`");
                Problem::new(ErrorCode::Forbidden, &detail)
            })?;
            let id = Some(id);
            let create = CreateTerminal { id, profile: Some(profile), size, ..Default::default() };

            // `Caller` checks for a revocation of the user since the ticket was issued.
            let author = Caller::new(shared, identity);
            let session = shared.hub.create_terminal(&author, create).await;
            (session.map_err(problem)?, role)
        }
        found => found.map_err(problem)?,
    };

    Ok(RawAttach { session, role, size })
}

/// Returns the session, and the role in which the identity may attach to it.
fn find(
    shared: &Shared,
    identity: &Identity,
    id: &SessionId,
    profile: Option<&ProfileName>,
    role: Option<Role>,
) -> Result<(Session, Role), ErrorBody> {
    let session = shared.hub.session(id, identity, SessionRight::Attach)?;
    if profile.is_some_and(|profile| profile != session.profile()) {
        let sentence = format!("there is no session `{id}` of this profile that you may attach to");
        return Err(ErrorBody::new(ErrorCode::UnknownSession, sentence));
    }

    let role = identity.role(session.owner(), session.profile(), role);
    Ok((session, role.ok_or(ErrorCode::Forbidden)?))
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of map_err")]
fn problem(error: ErrorBody) -> Problem {
    Problem::new(error.code, &error.message)
}
