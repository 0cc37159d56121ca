//! Sessions: start, list, get, close.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use rejoin_core::{CreateTerminal, Session, SessionRight};
use rejoin_protocol::{
    ErrorCode, ProfileName, SessionId, SessionInfo, SessionKind, SessionStatus, TerminalSize,
    UserId, limits,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use crate::{
    credentials::Caller,
    http::{
        api::connections::{ConnectionPage, info_for},
        extract::{InPath, InQuery, Json, Limit, whole},
        paging::page,
    },
    problem::Problem,
    state::Shared,
};

/// The maximum time that a request waits for a session to end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum length of a working directory's path, in bytes: the limit of Linux.
const MAX_CWD_BYTES: usize = 4096;
/// The maximum length of a search text, in characters.
const MAX_TEXT_CHARACTERS: usize = 100;

/// A session to start.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "profile": "terminal", "name": "build", "cols": 120, "rows": 40 }))]
pub(super) struct NewSession {
    /// The kind.
    #[serde(default)]
    #[schema(default = "terminal")]
    kind: NewKind,
    /// The id. If missing, the server generates one.
    #[serde(default)]
    id: Option<SessionId>,
    /// The profile of the program. `terminal` by default.
    #[serde(default)]
    profile: Option<ProfileName>,
    /// A display name. At most 100 bytes.
    #[serde(default, deserialize_with = "name")]
    #[schema(max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    name: Option<String>,
    /// Columns.
    #[serde(default = "default_cols", deserialize_with = "cols")]
    #[schema(minimum = 1, maximum = 1000, default = 80)]
    cols: u16,
    /// Rows.
    #[serde(default = "default_rows", deserialize_with = "rows")]
    #[schema(minimum = 1, maximum = 500, default = 24)]
    rows: u16,
    /// The working directory of the program. That of the profile by default.
    #[serde(default, deserialize_with = "cwd")]
    #[schema(min_length = 1, max_length = 4096, pattern = r"^[^\x00]+$")]
    cwd: Option<String>,
}

/// The kinds of sessions that a request can start.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum NewKind {
    /// A program on a pseudo-terminal.
    #[default]
    Terminal,
}

/// The sessions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SessionFilter {
    /// Only sessions of this user.
    #[serde(default)]
    user: Option<UserId>,
    /// Only sessions with this status.
    #[serde(default)]
    status: Option<SessionStatus>,
    /// Only running sessions or only ended ones.
    #[serde(default)]
    #[param(inline)]
    state: Option<RunState>,
    /// Only sessions of this kind.
    #[serde(default)]
    kind: Option<SessionKind>,
    /// Only sessions with this text in their title, name, profile, owner or id. Ignores case. At
    /// most 100 characters.
    #[serde(default, deserialize_with = "text")]
    #[param(max_length = 100)]
    q: Option<String>,
    /// Starts after this session: the `next` of the previous page.
    #[serde(default)]
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,19}_[A-Za-z0-9._:-]{1,64}$")]
    after: Option<Cursor>,
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
}

/// The state of a session's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RunState {
    Running,
    Ended,
}

/// The place of a session in the list, which sorts the newest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cursor(Reverse<(u64, SessionId)>);

/// A page of sessions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionPage {
    sessions: Vec<SessionInfo>,
    /// The `after` of the next page. Null on the last page.
    #[schema(value_type = Option<String>)]
    next: Option<Cursor>,
}

/// The profiles that the caller may start.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Profiles {
    profiles: Vec<ProfileName>,
}

/// List sessions
///
/// Administrators get all sessions, other users their own.
#[utoipa::path(
    get, path = "/sessions", tag = "sessions", params(SessionFilter),
    responses((status = 200, description = "A page of sessions, newest first.", body = SessionPage))
)]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InQuery(filter): InQuery<SessionFilter>,
) -> Result<axum::Json<SessionPage>, Problem> {
    // An error instead of an empty page, which would look like a user without sessions.
    if let Some(user) = &filter.user {
        caller.check_user(user)?;
    }

    let sessions = shared.hub.sessions(&caller.identity);
    let infos = sessions.iter().map(Session::info).filter(|session| filter.matches(session));
    let mut infos: Vec<_> = infos.map(|session| (Cursor::of(&session), session)).collect();
    // Sorted by cursor: new sessions appear on the first page and do not shift the others.
    infos.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));

    let (infos, next) = page(infos, filter.limit.0, |(cursor, _)| cursor.clone());
    let sessions = infos.into_iter().map(|(_, session)| session).collect();
    Ok(axum::Json(SessionPage { sessions, next }))
}

impl SessionFilter {
    fn matches(&self, session: &SessionInfo) -> bool {
        let Self { user, status, state, kind, q, after, limit: _ } = self;
        let is_ended = session.status.is_ended();
        user.as_ref().is_none_or(|user| session.owner == *user)
            && status.is_none_or(|status| session.status == status)
            && state.is_none_or(|state| (state == RunState::Ended) == is_ended)
            && kind.is_none_or(|kind| session.kind == kind)
            && after.as_ref().is_none_or(|after| Cursor::of(session) > *after)
            && q.as_ref().is_none_or(|text| has_text(session, text))
    }
}

/// Returns `true` if a session matches a search text, which must be in lower case.
fn has_text(session: &SessionInfo, text: &str) -> bool {
    let SessionInfo { id, title, name, profile, owner, .. } = session;
    let texts = [title, name.as_deref().unwrap_or_default(), profile.as_str(), owner.as_str()];
    // Not limited to ASCII: titles and names can be in any language.
    texts.into_iter().chain([id.as_str()]).any(|it| it.to_lowercase().contains(text))
}

impl Cursor {
    fn of(session: &SessionInfo) -> Self {
        // The id orders sessions of one millisecond, so that no page repeats or omits a session.
        Self(Reverse((session.created_at, session.id.clone())))
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(Reverse((created_at, id))) = self;
        serializer.collect_str(&format_args!("{created_at}_{id}"))
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Splits at the first `_`: the id may contain more of them.
        let cursor = text.split_once('_').and_then(|(created_at, id)| {
            Some((created_at.parse().ok()?, SessionId::new(id).ok()?))
        });
        let cursor = cursor.ok_or_else(|| D::Error::custom("must be the `next` of a page"))?;
        Ok(Self(Reverse(cursor)))
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        // Counted before the conversion to lower case, which can add characters.
        Some(text) if text.chars().count() > MAX_TEXT_CHARACTERS => {
            Err(D::Error::custom(format!("must be at most {MAX_TEXT_CHARACTERS} characters")))
        }
        text => Ok(text.map(|text| text.to_lowercase())),
    }
}

/// Start a session
///
/// The program comes from a profile in the server's configuration, never from a request.
#[utoipa::path(
    post, path = "/sessions", tag = "sessions", request_body = NewSession,
    responses(
        (status = 201, description = "The session.", body = SessionInfo,
         headers(("Location" = String, description = "The URL of the session."))),
        (status = 404, description = "`unknown_profile`."),
        (status = 409, description = "`session_exists`: the id is taken. `start_failed`: the \
         program could not be started, for example because `cwd` does not exist."),
        (status = 429, description = "`too_many_sessions`."),
    )
)]
pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Json(new): Json<NewSession>,
) -> Result<Response, Problem> {
    // The pattern names the only kind, so that a second kind does not compile until it is handled.
    let NewSession { kind: NewKind::Terminal, id, profile, name, cols, rows, cwd } = new;
    let size = Some(size(cols, rows));
    let create = CreateTerminal { id, profile, name, size, cwd };
    let session = shared.hub.create_terminal(&caller, create).await?;
    Ok(created(&shared, &session))
}

/// Returns the answer to the start of a session.
pub(super) fn created(shared: &Shared, session: &Session) -> Response {
    // With the base path, as the client sees it.
    let location = format!("{}api/v1/sessions/{}", shared.config.base_path, session.id());
    let headers = [(header::LOCATION, location)];
    (StatusCode::CREATED, headers, axum::Json(session.info())).into_response()
}

/// Get a session
#[utoipa::path(
    get, path = "/sessions/{session}", tag = "sessions",
    params(("session" = SessionId, Path, description = "The session.")),
    responses(
        (status = 200, description = "The session.", body = SessionInfo),
        (status = 404, description = "`unknown_session`."),
    )
)]
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<SessionId>,
) -> Result<axum::Json<SessionInfo>, Problem> {
    Ok(axum::Json(find(&shared, &caller, &id, SessionRight::Attach)?.info()))
}

/// Close a session
///
/// Ends its program, notifies the attached connections, and removes the session.
#[utoipa::path(
    delete, path = "/sessions/{session}", tag = "sessions",
    params(("session" = SessionId, Path, description = "The session.")),
    responses(
        (status = 204, description = "The session is removed."),
        (status = 404, description = "`unknown_session`."),
        (status = 503, description = "`timed_out`: the session ends, but not within 30 s."),
    )
)]
pub(super) async fn close(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<SessionId>,
) -> Result<StatusCode, Problem> {
    let session = find(&shared, &caller, &id, SessionRight::Write)?;
    if timeout(CLOSE_TIMEOUT, shared.hub.close_session(&session)).await.is_err() {
        let detail = "the session is ending, but its end is not on disk yet";
        return Err(Problem::new(ErrorCode::TimedOut, detail));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// List the connections that are attached to a session
///
/// In the order in which they attached, all on one page. Only administrators get `address`,
/// `user_agent` and `role_context` of other users' connections.
#[utoipa::path(
    get, path = "/sessions/{session}/connections", tag = "sessions",
    params(("session" = SessionId, Path, description = "The session.")),
    responses(
        (status = 200, description = "The connections.", body = ConnectionPage),
        (status = 404, description = "`unknown_session`."),
    )
)]
pub(super) async fn connections(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<SessionId>,
) -> Result<axum::Json<ConnectionPage>, Problem> {
    let session = find(&shared, &caller, &id, SessionRight::Attach)?;
    let connections = session.connections();
    // A connection may have closed since the session listed it.
    let connections = connections.iter().filter_map(|id| shared.hub.connection(id));
    let connections = connections.map(|connection| info_for(&caller, &connection)).collect();
    Ok(axum::Json(ConnectionPage { connections, next: None }))
}

/// List the profiles that the caller may start
#[utoipa::path(
    get, path = "/profiles", tag = "sessions",
    responses((status = 200, description = "The names of the profiles, sorted.", body = Profiles))
)]
pub(super) async fn profiles(
    State(shared): State<Arc<Shared>>,
    Caller { identity, .. }: Caller,
) -> axum::Json<Profiles> {
    axum::Json(Profiles { profiles: shared.hub.profiles(&identity) })
}

/// Returns a session that the caller has a right to.
pub(super) fn find(
    shared: &Shared,
    Caller { identity, .. }: &Caller,
    id: &SessionId,
    right: SessionRight,
) -> Result<Session, Problem> {
    Ok(shared.hub.session(id, identity, right)?)
}

pub(super) fn size(cols: u16, rows: u16) -> TerminalSize {
    TerminalSize::new(cols, rows).expect("the deserializer checks both")
}

fn default_cols() -> u16 {
    TerminalSize::DEFAULT.cols()
}

fn default_rows() -> u16 {
    TerminalSize::DEFAULT.rows()
}

pub(super) fn cols<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    cells(deserializer, limits::MAX_COLS)
}

pub(super) fn rows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    cells(deserializer, limits::MAX_ROWS)
}

fn cells<'de, D: Deserializer<'de>>(deserializer: D, max: u16) -> Result<u16, D::Error> {
    let cells = whole(deserializer, 1..=max.into())?;
    Ok(u16::try_from(cells).expect("it is at most `max`"))
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let max = limits::MAX_SESSION_NAME_BYTES;
    match Option::<String>::deserialize(deserializer)? {
        // Control characters could manipulate the terminal of an administrator who prints the list.
        Some(name) if name.len() > max || name.chars().any(char::is_control) => {
            Err(D::Error::custom(format!("must be at most {max} bytes, no control characters")))
        }
        // An empty name means no name, so that a client can send an input field as it is.
        name => Ok(name.filter(|name| !name.is_empty())),
    }
}

fn cwd<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        // A system call would ignore everything after a NUL.
        Some(path) if path.is_empty() || path.len() > MAX_CWD_BYTES || path.contains('\0') => {
            Err(D::Error::custom(format!("must be a path of 1 to {MAX_CWD_BYTES} bytes")))
        }
        path => Ok(path),
    }
}
