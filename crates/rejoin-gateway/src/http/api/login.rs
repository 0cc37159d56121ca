//! The log-in of browsers: a token or a login code becomes a browser session, until the log-out.

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::State,
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use rejoin_core::{Identity, now_ms};
use rejoin_protocol::{DeviceId, DeviceName, ErrorCode, UserId};
use serde::{Deserialize, Serialize};
use tracing::error;
use utoipa::ToSchema;

use crate::{
    browser_session::{Browser, BrowserSessionError, SLIDING_MS},
    gateway::Shared,
    http::{Problem, bearer, check_own_page, cookie, extract::OptionalJson, identity::refused},
    login_code::{Grant, LoginCodes},
    peer::Peer,
    socket::user_agent,
    token::TokenError,
};

/// What to log in with: a token or a login code.
#[derive(Default, Deserialize, ToSchema)]
pub(super) struct LogIn {
    /// A JWT; or else it is in the header `Authorization`.
    #[serde(default)]
    token: Option<String>,
    /// The code of a login link; a token beside it is ignored.
    #[serde(default)]
    code: Option<String>,
    /// The device that the browser is, for lists.
    #[serde(default)]
    device_id: Option<DeviceId>,
    /// What the person calls the device.
    #[serde(default)]
    device_name: Option<DeviceName>,
}

/// Whom a token or a login code logs in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogInPreview {
    user_id: UserId,
    /// Whether it is an administrator.
    admin: bool,
    /// When the token or the code ends, in milliseconds since the epoch; null if it does not.
    expires_at: Option<u64>,
}

/// What proves who logs in.
enum Proof {
    Token(String),
    Code(String),
}

/// Log a browser in
///
/// Verifies a token, of the body or of the header `Authorization`, or spends a login code, and
/// begins a browser session: the cookie has an opaque id of it that no script can read. A session
/// ends 30 days after its last use, or with its token. The session that the browser had ends. Only
/// for this server's own pages. Takes no `Idempotency-Key`.
#[utoipa::path(
    post, path = "/login", tag = "account", request_body = inline(Option<LogIn>),
    security((), ("bearer" = [])),
    responses(
        (status = 204, description = "The browser is logged in.",
         headers(("Set-Cookie" = String, description = "The cookie `rejoin_session`; over TLS \
         its name begins with `__Host-`, or `__Secure-` below a base path."))),
        (status = 401, description = "The token or the code is not good."),
        (status = 403, description = "`forbidden`: a page of another origin asks."),
    )
)]
pub(super) async fn log_in(
    State(shared): State<Arc<Shared>>,
    parts: Parts,
    OptionalJson(body): OptionalJson<LogIn>,
) -> Result<Response, Problem> {
    check_own_page(&parts.headers)?;
    let browser = Browser {
        device: body.device_id.clone(),
        device_name: body.device_name.clone(),
        address: parts.extensions.get::<Peer>().map(|peer| peer.address.to_string().into()),
        user_agent: user_agent(&parts.headers),
    };
    let identity = match proof(body, &parts.headers)? {
        Proof::Token(token) => shared.verify(&token).await,
        Proof::Code(code) => {
            code_grant(&shared, code, LoginCodes::redeem).await.map(Grant::into_identity)
        }
    };
    let identity = identity.and_then(|it| shared.config.verifier.recheck(&it).map(|()| it));
    let identity = identity.map_err(|error| refused(&shared, &error))?;
    let life_ms = identity.expires_at.map_or(SLIDING_MS, |end| end.saturating_sub(now_ms()));

    let seconds = life_ms.min(SLIDING_MS) / 1000;
    let replaced = cookie::read(&shared, &parts);
    // In a task of its own: a client that goes away does not leave it half done.
    let task = shared.hub.shutdown().spawn(begin(Arc::clone(&shared), identity, browser, replaced));
    let secret = task.await.map_err(|_| Problem::from(ErrorCode::Internal))??;
    let cookie = cookie::set(&shared, &parts.extensions, &secret, seconds);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Begins a browser session in place of another one; returns the value of its cookie.
async fn begin(
    shared: Arc<Shared>,
    identity: Identity,
    browser: Browser,
    replaced: Option<String>,
) -> Result<String, Problem> {
    let sessions = shared.browser_sessions();
    let secret = sessions.begin(identity.clone(), browser).map_err(|error| not_kept(&error))?;
    if let Some(id) = replaced.and_then(|secret| sessions.id_of(&secret)) {
        sessions.end(|identity| identity.browser_session.as_ref() == Some(&id));
    }
    // A revocation that came meanwhile did not find this session.
    let recheck = shared.config.verifier.recheck(&identity);
    if recheck.is_err()
        && let Some(id) = sessions.id_of(&secret)
    {
        sessions.end(|identity| identity.browser_session.as_ref() == Some(&id));
    }
    // The new session may have taken the room of others.
    shared.close_logged_out();
    if let Err(error) = sessions.write().await {
        // The code is spent: the browser is logged in all the same, until a restart.
        error!(%error, "browser sessions are not written");
    }
    recheck.map(|()| secret).map_err(|error| refused(&shared, &error))
}

/// See whom a log-in would log in
///
/// Verifies a token or a login code as `POST /login` does, and changes nothing: a code stays
/// unused. Only for this server's own pages. Takes no `Idempotency-Key`.
#[utoipa::path(
    post, path = "/login/check", tag = "account", request_body = inline(Option<LogIn>),
    security((), ("bearer" = [])),
    responses(
        (status = 200, description = "The user.", body = LogInPreview),
        (status = 401, description = "The token or the code is not good."),
        (status = 403, description = "`forbidden`: a page of another origin asks."),
    )
)]
pub(super) async fn check(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    OptionalJson(body): OptionalJson<LogIn>,
) -> Result<Answer<LogInPreview>, Problem> {
    check_own_page(&headers)?;
    let identity = match proof(body, &headers)? {
        Proof::Token(token) => shared.verify(&token).await,
        Proof::Code(code) => code_grant(&shared, code, LoginCodes::peek).await.map(|grant| {
            let expires_at = Some(grant.expires_at);
            Identity { expires_at, ..grant.into_identity() }
        }),
    };
    let Identity { user, caps, expires_at, .. } =
        identity.map_err(|error| refused(&shared, &error))?;
    Ok(Answer(LogInPreview { user_id: user, admin: caps.admin, expires_at }))
}

/// Log a browser out
///
/// Ends the browser session of the cookie, closes its connections with 4500, and takes the cookie
/// back. A token that it began with stays good: see `POST /revocations`.
#[utoipa::path(
    post, path = "/logout", tag = "account", security(()),
    responses(
        (status = 204, description = "The browser is logged out.",
         headers(("Set-Cookie" = String, description = "An end of the cookie."))),
        (status = 403, description = "`forbidden`: a page of another origin asks."),
        (status = 500, description = "`internal`: it is logged out, but only until a restart."),
    )
)]
pub(super) async fn log_out(
    State(shared): State<Arc<Shared>>,
    parts: Parts,
) -> Result<Response, Problem> {
    check_own_page(&parts.headers)?;
    end_current(&shared, &parts).await.map_err(|error| not_kept(&error))?;
    let cookie = cookie::set(&shared, &parts.extensions, "", 0);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

fn proof(body: LogIn, headers: &HeaderMap) -> Result<Proof, Problem> {
    let token = || body.token.or_else(|| bearer(headers).map(str::to_owned)).map(Proof::Token);
    body.code.map(Proof::Code).or_else(token).ok_or_else(|| {
        let detail = "send a `token` or a `code`, or the header `Authorization`";
        Problem::new(ErrorCode::NotAuthenticated, detail)
    })
}

/// Looks a login code up, or spends it, on a thread that may wait for the disk.
async fn code_grant(
    shared: &Shared,
    code: String,
    find: fn(&LoginCodes, &str) -> Option<Grant>,
) -> Result<Grant, TokenError> {
    let Some(codes) = shared.config.login_codes.clone() else { return Err(TokenError::LoginCode) };
    let found = tokio::task::spawn_blocking(move || find(&codes, &code)).await;
    found.ok().flatten().ok_or(TokenError::LoginCode)
}

/// Ends the session that the browser has, if it has one.
async fn end_current(shared: &Shared, parts: &Parts) -> Result<(), BrowserSessionError> {
    let secret = cookie::read(shared, parts);
    let Some(id) = secret.and_then(|secret| shared.browser_sessions().id_of(&secret)) else {
        return Ok(());
    };
    let is_current = |identity: &Identity| identity.browser_session.as_ref() == Some(&id);
    shared.end_browser_sessions(is_current).await.map(drop)
}

/// What is said of a change that is not on disk.
pub(super) fn not_kept(error: &BrowserSessionError) -> Problem {
    if let BrowserSessionError::TooLong = error {
        return Problem::new(ErrorCode::InvalidField, &error.to_string());
    }
    error!(%error, "browser sessions are not written");
    let detail = "it is in effect, but only until a restart; the server's log has the reason";
    Problem::new(ErrorCode::Internal, detail)
}
