//! The caller: logged in by a cookie, out again, known, and with a ticket.

use std::sync::Arc;

use axum::{
    Extension, Json as Answer,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use rejoin_core::{Identity, now_ms};
use rejoin_protocol::{DeviceId, ErrorCode, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    gateway::Shared,
    http::{
        Problem, bearer, check_own_page,
        extract::{Caller, OptionalJson},
        identity::{COOKIE, refused},
    },
    peer::Peer,
};

/// Browsers keep a cookie for 400 days at most.
const MAX_COOKIE_SECONDS: u64 = 400 * 24 * 60 * 60;

/// A token to log in with.
#[derive(Default, Deserialize, ToSchema)]
pub(super) struct LogIn {
    /// A JWT; or else it is in the header `Authorization`.
    #[serde(default)]
    token: Option<String>,
}

/// Who the caller is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Me {
    user_id: UserId,
    /// When the token ends, in milliseconds since the epoch; null if it does not.
    expires_at: Option<u64>,
    /// Whether it is an administrator.
    admin: bool,
    /// The device that the token was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<DeviceId>,
}

/// A ticket for one WebSocket.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewTicket {
    /// To be sent as `?ticket=`, once.
    ticket: String,
    /// When it ends, in milliseconds since the epoch.
    expires_at: u64,
}

/// Log a browser in
///
/// Verifies a token, of the body or of the header `Authorization`, and keeps it in a cookie that
/// no script can read. Only for this server's own pages. A retry is harmless, so it takes no
/// `Idempotency-Key`.
#[utoipa::path(
    post, path = "/login", tag = "account", request_body = inline(Option<LogIn>),
    security((), ("bearer" = [])),
    responses(
        (status = 204, description = "The browser is logged in.",
         headers(("Set-Cookie" = String, description = "The cookie `rejoin_token`."))),
        (status = 401, description = "The token is not good."),
        (status = 403, description = "`forbidden`: a page of another origin asks."),
    )
)]
pub(super) async fn log_in(
    State(shared): State<Arc<Shared>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    OptionalJson(LogIn { token }): OptionalJson<LogIn>,
) -> Result<Response, Problem> {
    check_own_page(&headers)?;
    let token = token.as_deref().or(bearer(&headers));
    let token = token.ok_or_else(|| {
        let detail = "send the token as `token`, or in the header `Authorization`";
        Problem::new(ErrorCode::NotAuthenticated, detail)
    })?;
    let identity = shared.verify(token).await.map_err(|error| refused(&shared, &error))?;
    let left = identity.expires_at.map(|end| end.saturating_sub(now_ms()) / 1000);
    let seconds = left.unwrap_or(MAX_COOKIE_SECONDS).min(MAX_COOKIE_SECONDS);
    Ok(set_cookie(&shared, peer, token, seconds))
}

/// Log a browser out
///
/// Takes the cookie back. The token itself stays good: see `POST /revocations`.
#[utoipa::path(
    post, path = "/logout", tag = "account", security(()),
    responses(
        (status = 204, description = "The browser is logged out.",
         headers(("Set-Cookie" = String, description = "An end of the cookie."))),
        (status = 403, description = "`forbidden`: a page of another origin asks."),
    )
)]
pub(super) async fn log_out(
    State(shared): State<Arc<Shared>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    check_own_page(&headers)?;
    Ok(set_cookie(&shared, peer, "", 0))
}

/// See who the caller is
#[utoipa::path(
    get, path = "/me", tag = "account",
    responses((status = 200, description = "What the token says.", body = Me))
)]
pub(super) async fn me(Caller { identity, .. }: Caller) -> Answer<Me> {
    let identity = Identity::clone(&identity);
    Answer(Me {
        user_id: identity.user,
        expires_at: identity.expires_at,
        admin: identity.caps.admin,
        device_id: identity.device,
    })
}

/// Get a ticket for a WebSocket
///
/// For clients that cannot send headers, such as browsers: it stands for the caller once, within
/// 30 seconds, as `?ticket=` in the address of a WebSocket. Each request gets a ticket of its own,
/// so it takes no `Idempotency-Key`.
#[utoipa::path(
    post, path = "/tickets", tag = "account",
    responses(
        (status = 201, description = "A ticket.", body = NewTicket),
        (status = 429, description = "`too_many_tickets` that were not used."),
    )
)]
pub(super) async fn ticket(
    State(shared): State<Arc<Shared>>,
    Caller { identity, .. }: Caller,
) -> Result<(StatusCode, Answer<NewTicket>), Problem> {
    let ticket = shared.tickets.issue(Identity::clone(&identity)).map_err(|error| {
        shared.hub.metrics().rate_limited("tickets");
        Problem::new(ErrorCode::TooManyTickets, &error.to_string())
    })?;
    let ticket = NewTicket { ticket: ticket.text, expires_at: ticket.expires_at };
    Ok((StatusCode::CREATED, Answer(ticket)))
}

fn set_cookie(
    shared: &Shared,
    peer: Option<Extension<Peer>>,
    token: &str,
    seconds: u64,
) -> Response {
    let secure = if peer.is_some_and(|Extension(peer)| peer.is_secure) { "; Secure" } else { "" };
    let path = &shared.config.base_path;
    let cookie = format!(
        "{COOKIE}={token}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    let mut cookie = HeaderValue::from_str(&cookie).expect("a good token is base64 and dots");
    cookie.set_sensitive(true);
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}
