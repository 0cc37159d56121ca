//! Browser sessions of a user: list and end.

use std::sync::Arc;

use axum::{Json as Answer, extract::State, http::StatusCode};
use rejoin_auth::{Browser, BrowserSessionInfo};
use rejoin_core::Identity;
use rejoin_protocol::{DeviceId, DeviceName, ErrorCode, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    credentials::Caller,
    http::{api::login::not_written, extract::InPath},
    problem::Problem,
    state::Shared,
};

/// A log-in of a browser. Times are in milliseconds since the epoch.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BrowserSession {
    /// The id, which differs from the cookie's secret.
    #[schema(value_type = String)]
    id: Box<str>,
    /// The device id that the browser sent, or null.
    device: Option<DeviceId>,
    device_name: Option<DeviceName>,
    /// The address from which the browser logged in.
    #[schema(value_type = Option<String>)]
    address: Option<Box<str>>,
    #[schema(value_type = Option<String>)]
    user_agent: Option<Box<str>>,
    created_at: u64,
    last_used_at: u64,
    /// The time at which the session ends if it is not used again.
    expires_at: u64,
    /// True for the session that sends the request.
    current: bool,
}

/// All browser sessions of a user, at most 32.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BrowserSessionList {
    browser_sessions: Vec<BrowserSession>,
}

/// List the browser sessions of a user
///
/// The most recently used first, all on one page.
#[utoipa::path(
    get, path = "/users/{user}/browser-sessions", tag = "users",
    params(("user" = UserId, Path, description = "The user.")),
    responses((status = 200, description = "The browser sessions.", body = BrowserSessionList))
)]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(user): InPath<UserId>,
) -> Result<Answer<BrowserSessionList>, Problem> {
    caller.check_user(&user)?;

    let current = caller.identity.browser_session.as_ref();
    let listed = shared.browser_sessions().of_user(&user).into_iter();
    let browser_sessions = listed.map(|session| {
        let BrowserSessionInfo { id, browser, created_at, last_used_at, expires_at } = session;
        let Browser { device, device_name, address, user_agent } = browser;
        BrowserSession {
            current: current == Some(&id),
            id,
            device,
            device_name,
            address,
            user_agent,
            created_at,
            last_used_at,
            expires_at,
        }
    });
    Ok(Answer(BrowserSessionList { browser_sessions: browser_sessions.collect() }))
}

/// End a browser session
///
/// Closes its connections with 4500.
#[utoipa::path(
    delete, path = "/users/{user}/browser-sessions/{id}", tag = "users",
    params(
        ("user" = UserId, Path, description = "The user."),
        ("id" = String, Path, description = "The browser session."),
    ),
    responses(
        (status = 204, description = "The session has ended."),
        (status = 404, description = "`not_found`: the user has no such browser session."),
        (status = 500,
         description = "`internal`: the session has ended, but only until a restart."),
    )
)]
pub(super) async fn end(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath((user, id)): InPath<(UserId, Box<str>)>,
) -> Result<StatusCode, Problem> {
    caller.check_user(&user)?;

    // Matches the user, too: the id of another user's session must not match.
    let is_named =
        |it: &Identity| it.user == user && it.browser_session.as_ref().is_some_and(|it| *it == id);
    let ended = shared.end_browser_sessions(is_named).await.map_err(|error| not_written(&error))?;
    if ended == 0 {
        return Err(Problem::new(ErrorCode::NotFound, "the user has no such browser session"));
    }
    Ok(StatusCode::NO_CONTENT)
}
