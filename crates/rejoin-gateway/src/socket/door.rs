//! The plain doors: a session for any WebSocket client, without a protocol of ours (A8).
//!
//! `/ws/{profile}/{session}` and `/ws/session/{session}` send the snapshot and then raw output as
//! binary messages; whatever comes in, text or binary, is typed.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use rejoin_core::{AttachRequest, CreateTerminal, Form, Identity, Receipt, Session, SessionRight};
use rejoin_protocol::{
    CloseCode, ErrorCode, ProfileName, Role, SessionId, TerminalSize,
    message::{ErrorBody, Positions},
};
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use tracing::{Instrument, Span};

use crate::{
    accept,
    gateway::Shared,
    http::{Opener, Problem},
    net::Socket,
    socket::{
        client::{Client, Flow, PATIENCE},
        upgrade::{self, Accepted, Door},
    },
};

/// The door to a session of any profile.
const ANY_PROFILE: &str = "session";
/// How often to look whether a program that did not read its input takes more.
const RETRY: Duration = Duration::from_millis(20);

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

/// What a plain door leads to.
struct Visit {
    identity: Identity,
    session: Session,
    role: Role,
    size: Option<TerminalSize>,
}

/// `GET /ws/{profile}/{session}`.
pub(crate) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut accepted = match upgrade::check(&shared, &mut parts, Door::Plain).await {
        Ok(accepted) => accepted,
        Err(refusal) => return refusal,
    };
    let address = match upgrade::query::<Address>(&mut parts).await {
        Ok(address) => address,
        Err(refusal) => return refusal,
    };
    let path = path.map_err(|error| Problem::new(ErrorCode::InvalidField, &error.body_text()));
    let visit = match path {
        Ok(Path((profile, session))) => {
            visit(&shared, &accepted.opener, &profile, &session, &address).await
        }
        Err(problem) => Err(problem),
    };
    let visit = match visit {
        Ok(visit) => visit,
        Err(problem) => return problem.into_response(),
    };
    let upgrade = hyper::upgrade::on(Request::from_parts(parts, body));
    let response = accepted.response();
    let task = Arc::clone(&shared);
    let span = super::span(&accepted.handshake);
    let socket = async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Some((socket, first_bytes)) = accept::take(upgraded) else { return };
        start(&task, socket, &first_bytes, accepted, visit).await;
    };
    shared.shutdown.spawn(socket.instrument(span));
    response
}

/// Finds the session, or makes it.
async fn visit(
    shared: &Shared,
    opener: &Opener,
    profile: &str,
    session: &str,
    address: &Address,
) -> Result<Visit, Problem> {
    let identity = match opener {
        Opener::Known(identity) => identity.clone(),
        Opener::Unknown => {
            let detail = "send `Authorization: Bearer TOKEN`, or add `?ticket=`";
            return Err(Problem::new(ErrorCode::NotAuthenticated, detail));
        }
        Opener::Refused(error) => return Err(Problem::new(error.codes().0, &error.to_string())),
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
            let id = Some(id);
            let create = CreateTerminal { id, profile: Some(profile), size, ..Default::default() };
            let session = shared.hub.create_terminal(&identity, create).await;
            (session.map_err(problem)?, address.role.unwrap_or_default())
        }
        found => found.map_err(problem)?,
    };
    Ok(Visit { identity, session, role, size })
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
    let may_write = shared.hub.session(id, identity, SessionRight::Write);
    let role = match (role, may_write) {
        (Some(Role::Writer), Err(error)) => return Err(error),
        (Some(role), _) => role,
        (None, Ok(_)) => Role::Writer,
        (None, Err(_)) => Role::Viewer,
    };
    Ok((session, role))
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of map_err")]
fn problem(error: ErrorBody) -> Problem {
    Problem::new(error.code, &error.message)
}

async fn start(
    shared: &Arc<Shared>,
    socket: Socket,
    first_bytes: &[u8],
    accepted: Accepted,
    visit: Visit,
) {
    let Accepted { handshake, permit, .. } = accepted;
    let mut client = super::client(shared, socket, Form::Raw, handshake, permit);
    let Visit { identity, session, role, size } = visit;
    let mut flow = client.welcome(None, identity, &Positions::default());
    if flow.is_continue() {
        flow = client.enter(&session, role, size).await;
    }
    if client.begin(flow, first_bytes).await.is_continue() {
        shared.shutdown.spawn(client.run().instrument(Span::current()));
    }
}

impl Client {
    /// Attaches the connection of a plain door to its session.
    async fn enter(&mut self, session: &Session, role: Role, size: Option<TerminalSize>) -> Flow {
        self.is_plain = true;
        let Some(connection) = self.connection().cloned() else {
            return Flow::Break(CloseCode::Normal);
        };
        let request = AttachRequest { reply_to: None, position: None, role, writer: None, size };
        match session.attach(&connection, request).await {
            Ok(attachment) => {
                self.attachments.push(attachment);
                Flow::Continue(())
            }
            // It was closed after it was found.
            Err(_) => Flow::Break(CloseCode::Normal),
        }
    }

    /// Types what came through a plain door; while the program does not read, nothing more is
    /// read from the client.
    pub(super) async fn type_in(&self, bytes: &[u8]) -> Flow {
        let Some(attachment) = self.attachments.first() else { return Flow::Continue(()) };
        let bytes = Bytes::copy_from_slice(bytes);
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = attachment.input(0, bytes.clone(), Receipt::told().0) {
            // Whoever only looks on, or types after the end, is not told: there are no words.
            if error.code != ErrorCode::InputFull {
                break;
            }
            if Instant::now() >= deadline {
                return ControlFlow::Break(CloseCode::TooSlow);
            }
            sleep(RETRY).await;
        }
        Flow::Continue(())
    }
}
