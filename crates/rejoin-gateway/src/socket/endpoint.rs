//! The raw endpoints: a session for any WebSocket client, without a protocol of ours (A8).
//!
//! `/ws/{profile}/{session}` and `/ws/session/{session}` send the snapshot and then raw output as
//! binary messages. Each message of the client, text or binary, is typed.

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use rejoin_core::{CreateTerminal, Identity, Session, SessionRight};
use rejoin_protocol::{ErrorCode, ProfileName, Role, SessionId, TerminalSize, message::ErrorBody};
use serde::Deserialize;

use crate::{
    credentials::{AuthOutcome, Caller},
    problem::Problem,
    socket::{
        Upgrades,
        raw::RawAttach,
        upgrade::{self, Endpoint},
    },
    state::Shared,
};

/// The path segment that stands for any profile.
const ANY_PROFILE: &str = "session";

/// What a client may say in the address.
#[derive(Debug, Deserialize)]
struct Address {
    /// Makes the session if it is not there.
    #[serde(default)]
    create: bool,
    /// Only looks on.
    #[serde(default)]
    role: Option<Role>,
    cols: Option<u16>,
    rows: Option<u16>,
}

/// `GET /ws/{profile}/{session}`.
pub(crate) async fn upgrade(
    State(upgrades): State<Upgrades>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let shared = &upgrades.shared;
    let (mut parts, body) = request.into_parts();
    let accepted = match upgrade::check(shared, &mut parts, Endpoint::Raw).await {
        Ok(accepted) => accepted,
        Err(refusal) => return refusal,
    };
    let address = match upgrade::query::<Address>(&mut parts).await {
        Ok(address) => address,
        Err(refusal) => return refusal,
    };
    let path = path.map_err(|error| Problem::new(ErrorCode::InvalidField, &error.body_text()));
    let found = match path {
        Ok(Path((profile, session))) => {
            find_or_create(shared, &accepted.opener, &profile, &session, &address).await
        }
        Err(problem) => Err(problem),
    };
    match found {
        Ok(attach) => upgrades.adopt(Request::from_parts(parts, body), accepted, Some(attach)),
        Err(problem) => problem.into_response(),
    }
}

/// Finds the session, or makes it.
async fn find_or_create(
    shared: &Shared,
    opener: &AuthOutcome,
    profile: &str,
    session: &str,
    address: &Address,
) -> Result<RawAttach, Problem> {
    let identity = match opener {
        AuthOutcome::Known(identity) => identity.clone(),
        AuthOutcome::Ticket(ticket) => ticket.identity().clone(),
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
        match (address.cols, address.rows) {
            (None, None) => None,
            (Some(cols), Some(rows)) => Some(TerminalSize::new(cols, rows).ok_or_else(|| {
                invalid("`cols` must be 1 to 1000 and `rows` 1 to 500".to_owned())
            })?),
            _ => return Err(invalid("`cols` and `rows` go together".to_owned())),
        };
    let found = find(shared, &identity, &id, profile.as_ref(), address.role);
    let (session, role) = match found {
        Err(error) if error.code == ErrorCode::UnknownSession && address.create => {
            let Some(profile) = profile else {
                let detail = "`create` needs a profile in the path, such as /ws/terminal/SESSION";
                return Err(invalid(detail.to_owned()));
            };
            // Before it is made: who may not attach to it leaves no program behind.
            let role = identity.role(&identity.user, &profile, address.role);
            let role = role.ok_or_else(|| {
                let detail =
                    format!("the token does not allow to attach to sessions of `{profile}`");
                Problem::new(ErrorCode::Forbidden, &detail)
            })?;
            let id = Some(id);
            let create = CreateTerminal { id, profile: Some(profile), size, ..Default::default() };
            // A ticket's user may have been revoked since it was made.
            let author = Caller::new(shared, identity);
            let session = shared.hub.create_terminal(&author, create).await;
            (session.map_err(problem)?, role)
        }
        found => found.map_err(problem)?,
    };
    Ok(RawAttach { session, role, size })
}

/// The session, and the role in which the identity may have it.
fn find(
    shared: &Shared,
    identity: &Identity,
    id: &SessionId,
    profile: Option<&ProfileName>,
    role: Option<Role>,
) -> Result<(Session, Role), ErrorBody> {
    let session = shared.hub.session(id, identity, SessionRight::Attach)?;
    if profile.is_some_and(|profile| profile != session.profile()) {
        let sentence = format!("there is no session `{id}` of this profile, or it is not yours");
        return Err(ErrorBody::new(ErrorCode::UnknownSession, sentence));
    }
    let role = identity.role(session.owner(), session.profile(), role);
    Ok((session, role.ok_or(ErrorCode::Forbidden)?))
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of map_err")]
fn problem(error: ErrorBody) -> Problem {
    Problem::new(error.code, &error.message)
}
