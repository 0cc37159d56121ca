//! Administration: revocations, and statistics of the server.

use std::sync::Arc;

use axum::{Json as Answer, extract::State, http::StatusCode};
use rejoin_auth::{Revocation, RevocationError, Target};
use rejoin_core::{Identity, Session, now_ms};
use rejoin_protocol::{CloseCode, ErrorCode, SessionStatus, UserId};
use serde::{Deserialize, Deserializer, Serialize};
use tracing::error;
use utoipa::{IntoParams, ToSchema};

use crate::{
    credentials::Caller,
    http::{
        api::login::not_written,
        extract::{InPath, InQuery, Json, Limit, whole},
        paging::page,
    },
    problem::Problem,
    state::Shared,
};

/// The maximum duration of a revocation, in seconds: ten years.
const MAX_SECONDS: u32 = 315_360_000;

/// A revocation to make. Names a user or a token, not both.
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

/// A revocation to make.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the schema of `NewRevocation`, whose errors are better")]
pub(super) enum RevocationBody {
    User(RevokeUser),
    Token(RevokeToken),
}

/// All tokens that were issued to a user until now.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "user": "ann" }))]
#[expect(dead_code, reason = "part of the schema of `NewRevocation`")]
pub(super) struct RevokeUser {
    /// The user.
    user: UserId,
    /// The lifetime of the revocation, by default 30 days. It should exceed that of the tokens.
    #[schema(minimum = 1, maximum = 315_360_000)]
    for_seconds: Option<u32>,
}

/// One token.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "token": "7b1c" }))]
#[expect(dead_code, reason = "part of the schema of `NewRevocation`")]
pub(super) struct RevokeToken {
    /// The token's id, which is its claim `jti`. At most 256 bytes.
    #[schema(min_length = 1, max_length = 256)]
    token: String,
    /// The lifetime of the revocation, by default 30 days. It should exceed that of the token.
    #[schema(minimum = 1, maximum = 315_360_000)]
    for_seconds: Option<u32>,
}

/// A revocation, of a `user` or of a `token`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevocationInfo {
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    /// The token's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Box<str>>,
    /// The time of the revocation, in milliseconds since the epoch.
    revoked_at: u64,
    /// The expiry, in milliseconds since the epoch.
    until: u64,
}

/// A page of revocations: users, then tokens, each sorted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevocationPage {
    revocations: Vec<RevocationInfo>,
    /// The `after` of the next page. Null on the last page.
    next: Option<String>,
}

/// The revocations to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RevocationFilter {
    /// Starts after this revocation: the `next` of the previous page.
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
}

/// Statistics of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stats {
    /// The server's version.
    version: &'static str,
    /// The time since the server started, in seconds.
    uptime_seconds: u64,
    /// The number of authenticated connections.
    connections: usize,
    /// The number of connected users.
    users: usize,
    /// The number of topics.
    topics: usize,
    /// The number of sessions, by status.
    sessions: SessionCounts,
}

/// The number of sessions, by status.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct SessionCounts {
    active: usize,
    idle: usize,
    terminated: usize,
    error: usize,
}

/// Revoke a user's tokens, or one token
///
/// For administrators. Closes the connections that use these tokens with 4504, and ends the browser
/// sessions that were started with them. The user may connect again with a token that is issued
/// later.
#[utoipa::path(
    post, path = "/revocations", tag = "administration", request_body = RevocationBody,
    responses(
        (status = 201, description = "The revocation.", body = RevocationInfo),
        (status = 500,
         description = "`internal`: the revocation is in effect, but only until a restart."),
        (status = 503, description = "`overloaded`: there are too many revocations."),
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
            let detail = "send `user` or `token`, not both";
            return Err(Problem::new(ErrorCode::InvalidField, detail));
        }
    };
    // Cannot overflow: `for_seconds` is at most ten years.
    let until = for_seconds.map(|seconds| now_ms() + u64::from(seconds) * 1000);

    // Runs in its own task, so that the revocation completes even if the client disconnects.
    let task = shared.hub.shutdown().spawn(revoke_and_end(Arc::clone(&shared), target, until));
    let revocation = task.await.map_err(|_| Problem::from(ErrorCode::Internal))??;
    Ok((StatusCode::CREATED, Answer(info(revocation))))
}

/// Revokes a target, and ends its connections and browser sessions.
async fn revoke_and_end(
    shared: Arc<Shared>,
    target: Target,
    until: Option<u64>,
) -> Result<Revocation, Problem> {
    let is_revoked = |identity: &Identity| shared.revocations().is_revoked(identity);
    let close = async {
        shared
            .hub
            .disconnect(CloseCode::Disconnected, |connection| is_revoked(&connection.identity()));
        // Ends the sessions instead of only refusing them: lifting the revocation must not log a
        // browser in again.
        shared.browser_sessions().end(is_revoked);
        shared.browser_sessions().write().await
    };

    let (revoked, ended) = tokio::join! {
        // The order matters: the first poll of `revoke` puts the revocation into effect and starts
        // the write. A slow or failing disk must not keep the connections open.
        biased;
        shared.revocations().revoke(target, until),
        close,
    };
    ended.map_err(|error| not_written(&error))?;
    revoked.map_err(|error| failed(&error))
}

/// List revocations
///
/// For administrators. Expired revocations are not listed.
#[utoipa::path(
    get, path = "/revocations", tag = "administration", params(RevocationFilter),
    responses((status = 200, description = "A page of revocations.", body = RevocationPage))
)]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InQuery(RevocationFilter { after, limit: Limit(limit) }): InQuery<RevocationFilter>,
) -> Result<Answer<RevocationPage>, Problem> {
    caller.check_admin()?;

    let all = shared.revocations().list().into_iter().map(info);
    let mut later: Vec<_> =
        all.filter(|it| after.as_ref().is_none_or(|after| cursor(it) > *after)).collect();
    // The table is unordered and has up to 100,000 entries, so only the page is sorted, together
    // with the entry after it, which shows whether there is a next page.
    if later.len() > limit {
        later.select_nth_unstable_by(limit, |a, b| key(a).cmp(&key(b)));
        later.truncate(limit + 1);
    }
    later.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    let (revocations, next) = page(later, limit, cursor);
    Ok(Answer(RevocationPage { revocations, next }))
}

/// Lift the revocation of a user
///
/// For administrators. The user's tokens are valid again.
#[utoipa::path(
    delete, path = "/revocations/users/{user}", tag = "administration",
    params(("user" = UserId, Path, description = "The user.")),
    responses(
        (status = 204, description = "The revocation is lifted."),
        (status = 404, description = "`not_found`: there is no such revocation."),
        (status = 500,
         description = "`internal`: the revocation is lifted, but only until a restart."),
    )
)]
pub(super) async fn lift_user(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(user): InPath<UserId>,
) -> Result<StatusCode, Problem> {
    lift(&shared, &caller, &Target::User(user)).await
}

/// Lift the revocation of a token
///
/// For administrators. The token is valid again.
#[utoipa::path(
    delete, path = "/revocations/tokens/{token}", tag = "administration",
    params(("token" = String, Path, description = "The token's id, its claim `jti`.")),
    responses(
        (status = 204, description = "The revocation is lifted."),
        (status = 404, description = "`not_found`: there is no such revocation."),
        (status = 500,
         description = "`internal`: the revocation is lifted, but only until a restart."),
    )
)]
pub(super) async fn lift_token(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(token): InPath<String>,
) -> Result<StatusCode, Problem> {
    lift(&shared, &caller, &Target::Token(token.into())).await
}

/// Get statistics of the server
///
/// For administrators. `/metrics` has more.
#[utoipa::path(
    get, path = "/stats", tag = "administration",
    responses((status = 200, description = "The current statistics.", body = Stats))
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
    let is_lifted = shared.revocations().lift(target).await.map_err(|error| failed(&error))?;
    match is_lifted {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(ErrorCode::NotFound, "there is no such revocation")),
    }
}

fn info(Revocation { target, revoked_at, until }: Revocation) -> RevocationInfo {
    let (user, token) = match target {
        Target::User(user) => (Some(user), None),
        Target::Token(token) => (None, Some(token)),
    };
    RevocationInfo { user, token, revoked_at, until }
}

/// Returns the order of a revocation: users before tokens.
fn key(it: &RevocationInfo) -> (char, &str) {
    match (&it.user, &it.token) {
        (Some(user), _) => ('0', user.as_str()),
        (None, token) => ('1', token.as_deref().unwrap_or_default()),
    }
}

fn cursor(it: &RevocationInfo) -> String {
    let (kind, name) = key(it);
    format!("{kind}{name}")
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    /// A number that is not null.
    struct Seconds(u32);

    impl<'de> Deserialize<'de> for Seconds {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            whole(deserializer, 1..=MAX_SECONDS).map(Self)
        }
    }

    Ok(Option::<Seconds>::deserialize(deserializer)?.map(|Seconds(seconds)| seconds))
}

fn failed(error: &RevocationError) -> Problem {
    match error {
        RevocationError::TooMany => Problem::new(ErrorCode::Overloaded, &error.to_string()),
        RevocationError::InvalidTokenId | RevocationError::Past => {
            Problem::new(ErrorCode::InvalidField, &error.to_string())
        }
        error => {
            error!(%error, "cannot write the revocations");
            let detail = "the change is in effect, but only until a restart; the server's log has \
                          the reason";
            Problem::new(ErrorCode::Internal, detail)
        }
    }
}
