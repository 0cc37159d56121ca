//! What administrators do: revoke, and look at numbers.

use std::sync::Arc;

use axum::{Json as Answer, extract::State, http::StatusCode};
use rejoin_core::{Identity, Session, now_ms};
use rejoin_protocol::{CloseCode, ErrorCode, SessionStatus, UserId};
use serde::{Deserialize, Deserializer, Serialize};
use tracing::error;
use utoipa::{IntoParams, ToSchema};

use crate::{
    gateway::Shared,
    http::{
        Problem,
        api::login::not_kept,
        extract::{Caller, InPath, InQuery, Json, Limit, whole},
        paging::page,
    },
    revocation::{Revocation, RevocationError, Revocations, Target},
};

/// Ten years.
const MAX_SECONDS: u32 = 315_360_000;

/// What to revoke: a user or a token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRevocation {
    #[serde(default)]
    user: Option<UserId>,
    #[serde(default)]
    token: Option<Box<str>>,
    #[serde(default, deserialize_with = "seconds")]
    for_seconds: Option<u32>,
}

/// What to revoke.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the description of `NewRevocation`, whose errors are better")]
pub(super) enum RevocationBody {
    User(RevokeUser),
    Token(RevokeToken),
}

/// Each of a user's tokens that was made up to now.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "user": "ann" }))]
#[expect(dead_code, reason = "the description of `NewRevocation`")]
pub(super) struct RevokeUser {
    /// The user.
    user: UserId,
    /// After what time the revocation is forgotten; after 30 days if nothing is given. Longer
    /// than the tokens are valid is right.
    #[schema(minimum = 1, maximum = 315_360_000)]
    for_seconds: Option<u32>,
}

/// One token.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "token": "7b1c" }))]
#[expect(dead_code, reason = "the description of `NewRevocation`")]
pub(super) struct RevokeToken {
    /// Its id, the claim `jti`; at most 256 bytes.
    #[schema(min_length = 1, max_length = 256)]
    token: String,
    /// After what time the revocation is forgotten; after 30 days if nothing is given. Longer
    /// than the token is valid is right.
    #[schema(minimum = 1, maximum = 315_360_000)]
    for_seconds: Option<u32>,
}

/// Something that was revoked: `user` or `token` is there, not both.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevocationInfo {
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    /// The token's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Box<str>>,
    /// When, in milliseconds since the epoch.
    revoked_at: u64,
    /// When it is forgotten, in milliseconds since the epoch.
    until: u64,
}

/// A page of revocations: users, then tokens, each sorted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevocationPage {
    revocations: Vec<RevocationInfo>,
    /// The `after` of the next page; null if there is none.
    next: Option<String>,
}

/// Which revocations to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RevocationFilter {
    /// Only those after this one: the `next` of the page before.
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
}

/// The server in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stats {
    /// The server's version.
    version: &'static str,
    /// How long it has run, in seconds.
    uptime_seconds: u64,
    /// Connections that are authenticated.
    connections: usize,
    /// Users who are connected.
    users: usize,
    /// Topics that are there.
    topics: usize,
    /// Sessions that are there, by status.
    sessions: SessionCounts,
}

/// Sessions that are there, by status.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct SessionCounts {
    active: usize,
    idle: usize,
    terminated: usize,
    error: usize,
}

/// Revoke a user's tokens, or one token
///
/// For administrators. Connections that were made with them are closed with 4504 at once. A
/// user may come back with a token that is made later.
#[utoipa::path(
    post, path = "/revocations", tag = "administration", request_body = RevocationBody,
    responses(
        (status = 201, description = "It is revoked.", body = RevocationInfo),
        (status = 500, description = "`internal`: it is revoked, but only until a restart."),
        (status = 503, description = "`overloaded`: there are as many revocations as allowed."),
    )
)]
pub(super) async fn revoke(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Json(NewRevocation { user, token, for_seconds }): Json<NewRevocation>,
) -> Result<(StatusCode, Answer<RevocationInfo>), Problem> {
    caller.check_admin()?;
    let target = match (user, token) {
        (Some(user), None) => Target::User(user),
        (None, Some(token)) => Target::Token(token),
        (None, None) => {
            let detail = "missing field `user` or `token`";
            return Err(Problem::new(ErrorCode::MissingField, detail));
        }
        (Some(_), Some(_)) => {
            let detail = "only one of `user` and `token` may be there";
            return Err(Problem::new(ErrorCode::InvalidField, detail));
        }
    };
    let until = for_seconds.map(|seconds| now_ms() + u64::from(seconds) * 1000);
    // In a task of its own: a client that goes away does not leave it half done.
    let task = shared.hub.shutdown().spawn(revoke_and_end(Arc::clone(&shared), target, until));
    let revocation = task.await.map_err(|_| Problem::from(ErrorCode::Internal))??;
    Ok((StatusCode::CREATED, Answer(info(revocation))))
}

/// Revokes, closes the connections and ends the browser sessions that are revoked.
async fn revoke_and_end(
    shared: Arc<Shared>,
    target: Target,
    until: Option<u64>,
) -> Result<Revocation, Problem> {
    let result = revocations(&shared).revoke(target, until).await;
    // Also what is not on disk is in effect.
    let is_revoked = |identity: &Identity| revocations(&shared).is_revoked(identity);
    shared.hub.disconnect(CloseCode::Disconnected, |connection| is_revoked(&connection.identity()));
    // A revocation that is lifted brings no browser back.
    shared.browser_sessions().end(is_revoked);
    shared.browser_sessions().write().await.map_err(|error| not_kept(&error))?;
    result.map_err(|error| refused(&error))
}

/// List revocations
///
/// For administrators. Those whose time is over are not there any more.
#[utoipa::path(
    get, path = "/revocations", tag = "administration", params(RevocationFilter),
    responses((status = 200, description = "A page of them.", body = RevocationPage))
)]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InQuery(RevocationFilter { after, limit: Limit(limit) }): InQuery<RevocationFilter>,
) -> Result<Answer<RevocationPage>, Problem> {
    caller.check_admin()?;
    let mut all: Vec<_> = revocations(&shared).list().into_iter().map(info).collect();
    all.sort_by_cached_key(cursor);
    let later = all.into_iter().filter(|it| after.as_ref().is_none_or(|after| cursor(it) > *after));
    let (revocations, next) = page(later, limit, cursor);
    Ok(Answer(RevocationPage { revocations, next }))
}

/// Take the revocation of a user's tokens back
///
/// For administrators. They are good again.
#[utoipa::path(
    delete, path = "/revocations/users/{user}", tag = "administration",
    params(("user" = UserId, Path, description = "The user.")),
    responses(
        (status = 204, description = "It is taken back."),
        (status = 404, description = "`not_found`: there is no such revocation."),
        (status = 500, description = "`internal`: it is taken back, but only until a restart."),
    )
)]
pub(super) async fn lift_user(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(user): InPath<UserId>,
) -> Result<StatusCode, Problem> {
    lift(&shared, &caller, &Target::User(user)).await
}

/// Take the revocation of a token back
///
/// For administrators. It is good again.
#[utoipa::path(
    delete, path = "/revocations/tokens/{token}", tag = "administration",
    params(("token" = String, Path, description = "The token's id, its claim `jti`.")),
    responses(
        (status = 204, description = "It is taken back."),
        (status = 404, description = "`not_found`: there is no such revocation."),
        (status = 500, description = "`internal`: it is taken back, but only until a restart."),
    )
)]
pub(super) async fn lift_token(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(token): InPath<String>,
) -> Result<StatusCode, Problem> {
    lift(&shared, &caller, &Target::Token(token.into())).await
}

/// See the server in numbers
///
/// For administrators. `/metrics` has more of them.
#[utoipa::path(
    get, path = "/stats", tag = "administration",
    responses((status = 200, description = "The numbers of this moment.", body = Stats))
)]
pub(super) async fn stats(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
) -> Result<Answer<Stats>, Problem> {
    caller.check_admin()?;
    let hub = &shared.hub;
    let mut sessions = SessionCounts::default();
    for session in hub.sessions(&caller.identity).iter().map(Session::info) {
        *match session.status {
            SessionStatus::Active => &mut sessions.active,
            SessionStatus::Idle => &mut sessions.idle,
            SessionStatus::Terminated => &mut sessions.terminated,
            SessionStatus::Error => &mut sessions.error,
        } += 1;
    }
    Ok(Answer(Stats {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: shared.started.elapsed().as_secs(),
        connections: hub.connection_count(),
        users: hub.user_count(),
        topics: hub.topic_count(),
        sessions,
    }))
}

async fn lift(shared: &Shared, caller: &Caller, target: &Target) -> Result<StatusCode, Problem> {
    caller.check_admin()?;
    let there = revocations(shared).lift(target).await.map_err(|error| refused(&error))?;
    if there {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::new(ErrorCode::NotFound, "there is no such revocation"))
    }
}

fn revocations(shared: &Shared) -> &Revocations {
    shared.config.verifier.revocations().expect("a gateway keeps account of revocations")
}

fn info(Revocation { target, revoked_at, until }: Revocation) -> RevocationInfo {
    let (user, token) = match target {
        Target::User(user) => (Some(user), None),
        Target::Token(token) => (None, Some(token)),
    };
    RevocationInfo { user, token, revoked_at, until }
}

/// Where a revocation stands in the list: users before tokens.
fn cursor(it: &RevocationInfo) -> String {
    match (&it.user, &it.token) {
        (Some(user), _) => format!("0{user}"),
        (None, token) => format!("1{}", token.as_deref().unwrap_or_default()),
    }
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    /// Something that is there.
    struct Seconds(u32);

    impl<'de> Deserialize<'de> for Seconds {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            whole(deserializer, 1..=MAX_SECONDS).map(Self)
        }
    }

    Ok(Option::<Seconds>::deserialize(deserializer)?.map(|Seconds(seconds)| seconds))
}

fn refused(error: &RevocationError) -> Problem {
    match error {
        RevocationError::TooMany => Problem::new(ErrorCode::Overloaded, &error.to_string()),
        RevocationError::InvalidTokenId | RevocationError::Past => {
            Problem::new(ErrorCode::InvalidField, &error.to_string())
        }
        error => {
            error!(%error, "revocations are not written");
            let detail =
                "it is in effect, but only until a restart; the server's log has the reason";
            Problem::new(ErrorCode::Internal, detail)
        }
    }
}
