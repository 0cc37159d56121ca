//! Log-in and log-out of browsers: a token or a login code becomes a browser session.

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::State,
    http::{Extensions, HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use rejoin_auth::{
    Browser, BrowserSessionError, BrowserSessions, LoginCodes, LoginGrant, TokenError,
};
use rejoin_core::{Identity, now_ms};
use rejoin_protocol::{DeviceId, DeviceName, ErrorCode, UserId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::error;
use utoipa::ToSchema;

use crate::{
    credentials::{bearer, check_own_page, cookie, refuse},
    http::extract::OptionalJson,
    peer::Peer,
    problem::Problem,
    socket::user_agent,
    state::Shared,
};

/// The credentials of a log-in: a token or a login code.
#[derive(Default, Deserialize, ToSchema)]
pub(super) struct LogIn {
    /// A JWT. It may be sent in the header `Authorization` instead.
    #[serde(default)]
    token: Option<String>,
    /// The code of a login link. If present, a token is ignored.
    #[serde(default)]
    code: Option<String>,
    /// The device id of the browser, shown in lists.
    #[serde(default)]
    device_id: Option<DeviceId>,
    /// The device name of the browser, shown in lists.
    #[serde(default)]
    device_name: Option<DeviceName>,
}

/// The user that a token or a login code logs in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogInPreview {
    user_id: UserId,
    /// True for an administrator.
    admin: bool,
    /// The expiry of the token or the code, in milliseconds since the epoch. Null if it does not
    /// expire.
    expires_at: Option<u64>,
}

/// The credentials of a log-in.
enum Credentials {
    Token(String),
    Code(String),
}

/// Log in
///
/// Verifies a token, from the body or from the header `Authorization`, or redeems a login code.
/// Starts a browser session and stores its secret in a cookie that scripts cannot read. The session
/// ends 30 days after its last use, or when its token expires. The browser's previous session ends.
/// Only for this server's own pages. `Idempotency-Key` is ignored.
#[utoipa::path(
    post, path = "/login", tag = "account", request_body = inline(Option<LogIn>),
    security((), ("bearer" = [])),
    responses(
        (status = 204, description = "The browser is logged in.",
         headers(("Set-Cookie" = String, description = "The cookie `rejoin_session`; over TLS \
         its name begins with `__Host-`, or `__Secure-` below a base path."))),
        (status = 401, description = "The token or the code is not valid."),
        (status = 403,
         description = "`forbidden`: the request comes from a page of another origin."),
        (status = 429, description = "`rate_limited`: too many log-ins from this address."),
    )
)]
pub(super) async fn log_in(
    State(shared): State<Arc<Shared>>,
    parts: Parts,
    OptionalJson(body): OptionalJson<LogIn>,
) -> Result<Response, Problem> {
    check_own_page(&parts.headers)?;
    admit(&shared, &parts.extensions)?;

    let browser = Browser {
        device: body.device_id.clone(),
        device_name: body.device_name.clone(),
        address: parts.extensions.get::<Peer>().map(|peer| peer.address.to_string().into()),
        user_agent: user_agent(&parts.headers),
    };

    let identity = match credentials(body, &parts.headers)? {
        Credentials::Token(token) => shared.verify(&token).await,
        Credentials::Code(code) => {
            code_grant(&shared, code, LoginCodes::redeem).await.map(LoginGrant::into_identity)
        }
    };
    // A login code is not verified like a token: its user may have been revoked since it was made.
    let identity = identity.and_then(|it| shared.config.verifier.recheck(&it).map(|()| it));
    let identity = identity.map_err(|error| refuse(&shared, &error))?;

    let idle_ms = BrowserSessions::IDLE_MS;
    let life_ms = identity.expires_at.map_or(idle_ms, |end| end.saturating_sub(now_ms()));
    // The browser drops the cookie when the session ends, so it never sends a stale one.
    let seconds = life_ms.min(idle_ms) / 1000;
    let replaced = cookie::read(&shared, &parts);
    // Runs in its own task, so that the log-in completes even if the client disconnects.
    let task = shared.hub.shutdown().spawn(start_session(
        Arc::clone(&shared),
        identity,
        browser,
        replaced,
    ));

    let secret = task.await.map_err(|_| Problem::from(ErrorCode::Internal))??;
    let cookie = cookie::set(&shared, &parts.extensions, &secret, seconds);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Counts a log-in against the limit of the client's address.
fn admit(shared: &Shared, extensions: &Extensions) -> Result<(), Problem> {
    let Some(peer) = extensions.get::<Peer>() else { return Ok(()) };

    shared.logins.admit(peer.address, Instant::now()).map_err(|wait| {
        shared.hub.metrics().rate_limited("logins");
        let seconds = wait.as_secs() + 1;
        let detail = format!("too many log-ins from this address; try again in {seconds} s");
        Problem::new(ErrorCode::RateLimited, &detail).with_retry_after(wait)
    })
}

/// Starts a browser session that replaces another one. Returns the secret for its cookie.
async fn start_session(
    shared: Arc<Shared>,
    identity: Identity,
    browser: Browser,
    replaced: Option<String>,
) -> Result<String, Problem> {
    let sessions = shared.browser_sessions();
    let secret = sessions.start(identity.clone(), browser).map_err(|error| not_written(&error))?;
    // The browser forgets the old cookie, so the old session would only take up space.
    if let Some(id) = replaced.and_then(|secret| sessions.id_of(&secret)) {
        sessions.end(|identity| identity.browser_session.as_ref() == Some(&id));
    }

    // A concurrent revocation may have missed the new session, so the identity is rechecked.
    let recheck = shared.config.verifier.recheck(&identity);
    if recheck.is_err()
        && let Some(id) = sessions.id_of(&secret)
    {
        sessions.end(|identity| identity.browser_session.as_ref() == Some(&id));
    }

    // The new session may have evicted others.
    shared.close_logged_out();
    if let Err(error) = sessions.write().await {
        // Not an error for the browser: its code is spent, and the session works until a restart.
        error!(%error, "cannot write the browser sessions");
    }
    recheck.map(|()| secret).map_err(|error| refuse(&shared, &error))
}

/// Check a log-in
///
/// Verifies a token or a login code as `POST /login` does, and returns its user. Neither logs in
/// nor redeems the code. Only for this server's own pages. `Idempotency-Key` is ignored.
#[utoipa::path(
    post, path = "/login/check", tag = "account", request_body = inline(Option<LogIn>),
    security((), ("bearer" = [])),
    responses(
        (status = 200, description = "The user.", body = LogInPreview),
        (status = 401, description = "The token or the code is not valid."),
        (status = 403,
         description = "`forbidden`: the request comes from a page of another origin."),
    )
)]
pub(super) async fn check(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    OptionalJson(body): OptionalJson<LogIn>,
) -> Result<Answer<LogInPreview>, Problem> {
    check_own_page(&headers)?;
    let identity = match credentials(body, &headers)? {
        Credentials::Token(token) => shared.verify(&token).await,
        // The code stays valid, so that the user can confirm the log-in.
        Credentials::Code(code) => code_grant(&shared, code, LoginCodes::peek).await.map(|grant| {
            let expires_at = Some(grant.expires_at());
            Identity { expires_at, ..grant.into_identity() }
        }),
    };
    let Identity { user, caps, expires_at, .. } =
        identity.map_err(|error| refuse(&shared, &error))?;
    Ok(Answer(LogInPreview { user_id: user, admin: caps.admin, expires_at }))
}

/// Log out
///
/// Ends the browser session of the cookie, closes its connections with 4500, and removes the
/// cookie. The token of the log-in stays valid; `POST /revocations` revokes it.
#[utoipa::path(
    post, path = "/logout", tag = "account", security(()),
    responses(
        (status = 204, description = "The browser is logged out.",
         headers(("Set-Cookie" = String, description = "Removes the cookie."))),
        (status = 403,
         description = "`forbidden`: the request comes from a page of another origin."),
        (status = 500,
         description = "`internal`: the browser is logged out, but only until a restart."),
    )
)]
pub(super) async fn log_out(
    State(shared): State<Arc<Shared>>,
    parts: Parts,
) -> Result<Response, Problem> {
    check_own_page(&parts.headers)?;
    end_current(&shared, &parts).await.map_err(|error| not_written(&error))?;
    let cookie = cookie::set(&shared, &parts.extensions, "", 0);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

fn credentials(body: LogIn, headers: &HeaderMap) -> Result<Credentials, Problem> {
    let token =
        || body.token.or_else(|| bearer(headers).map(str::to_owned)).map(Credentials::Token);
    body.code.map(Credentials::Code).or_else(token).ok_or_else(|| {
        let detail = "send a `token` or a `code`, or the header `Authorization`";
        Problem::new(ErrorCode::NotAuthenticated, detail)
    })
}

/// Looks up or redeems a login code, on a thread that may block.
async fn code_grant(
    shared: &Shared,
    code: String,
    lookup: fn(&LoginCodes, &str) -> Option<LoginGrant>,
) -> Result<LoginGrant, TokenError> {
    // Without login codes, every code is unknown.
    let Some(codes) = shared.config.login_codes.clone() else { return Err(TokenError::LoginCode) };
    let found = tokio::task::spawn_blocking(move || lookup(&codes, &code)).await;
    found.ok().flatten().ok_or(TokenError::LoginCode)
}

/// Ends the session of the request's cookie, if there is one.
async fn end_current(shared: &Shared, parts: &Parts) -> Result<(), BrowserSessionError> {
    let secret = cookie::read(shared, parts);
    let Some(id) = secret.and_then(|secret| shared.browser_sessions().id_of(&secret)) else {
        return Ok(());
    };
    let is_current = |identity: &Identity| identity.browser_session.as_ref() == Some(&id);
    shared.end_browser_sessions(is_current).await.map(drop)
}

/// Returns the problem for a change that could not be written to disk.
pub(super) fn not_written(error: &BrowserSessionError) -> Problem {
    if let BrowserSessionError::TooLong = error {
        return Problem::new(ErrorCode::InvalidField, &error.to_string());
    }
    error!(%error, "cannot write the browser sessions");
    let detail =
        "the change is in effect, but only until a restart; the server's log has the reason";
    Problem::new(ErrorCode::Internal, detail)
}
