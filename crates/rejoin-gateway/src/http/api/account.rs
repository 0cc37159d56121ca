//! The account of the caller: its identity, and tickets for WebSockets.

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::State,
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use rejoin_auth::TicketError;
use rejoin_core::{Identity, now_ms};
use rejoin_protocol::{DeviceId, ErrorCode, UserId};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use crate::{
    credentials::{Caller, cookie},
    problem::Problem,
    state::Shared,
};

/// The identity of the caller.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Me {
    user_id: UserId,
    /// The expiry of the token or the browser session, in milliseconds since the epoch. Null if it
    /// does not expire.
    expires_at: Option<u64>,
    /// True for an administrator.
    admin: bool,
    /// The device that the token is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<DeviceId>,
    /// The browser session that the request comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    browser_session: Option<Box<str>>,
}

/// A ticket for one WebSocket.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewTicket {
    /// The value of `?ticket=`, for one WebSocket.
    ticket: String,
    /// The expiry, in milliseconds since the epoch.
    expires_at: u64,
}

/// Get the caller's identity
///
/// Each response extends a browser's cookie by 30 days.
#[utoipa::path(
    get, path = "/me", tag = "account",
    responses((status = 200, description = "The identity.", body = Me))
)]
pub(super) async fn me(
    State(shared): State<Arc<Shared>>,
    Caller { identity, .. }: Caller,
    parts: Parts,
) -> Response {
    let identity = Identity::clone(&identity);
    let cookie = identity.browser_session.as_ref().and_then(|_| {
        // Extends the cookie to the session's new expiry.
        let left_ms = identity.expires_at?.saturating_sub(now_ms());
        let secret = cookie::read(&shared, &parts)?;
        Some(cookie::set(&shared, &parts.extensions, &secret, left_ms / 1000))
    });

    let me = Answer(Me {
        user_id: identity.user,
        expires_at: identity.expires_at,
        admin: identity.caps.admin,
        device_id: identity.device,
        browser_session: identity.browser_session,
    });

    match cookie {
        Some(cookie) => ([(header::SET_COOKIE, cookie)], me).into_response(),
        None => me.into_response(),
    }
}

/// Get a ticket for a WebSocket
///
/// For clients that cannot send headers, such as browsers. Within 30 seconds, the ticket
/// authenticates one WebSocket as the caller if its URL contains `?ticket=`. Each request gets a
/// new ticket, so `Idempotency-Key` is ignored.
#[utoipa::path(
    post, path = "/tickets", tag = "account",
    responses(
        (status = 201, description = "The ticket.", body = NewTicket),
        (status = 429, description = "`too_many_tickets`: the caller has too many unused tickets."),
    )
)]
pub(super) async fn ticket(
    State(shared): State<Arc<Shared>>,
    Caller { identity, .. }: Caller,
) -> Result<(StatusCode, Answer<NewTicket>), Problem> {
    let ticket = shared.config.tickets.issue(Identity::clone(&identity)).await;
    let ticket = ticket.map_err(|error| match error {
        TicketError::TooManyOfUser | TicketError::TooMany => {
            shared.hub.metrics().rate_limited("tickets");
            Problem::new(ErrorCode::TooManyTickets, &error.to_string())
        }
        error => {
            error!(%error, "a ticket cannot be issued");
            Problem::new(ErrorCode::Overloaded, "tickets cannot be issued now; try again later")
        }
    })?;
    let ticket = NewTicket { ticket: ticket.text, expires_at: ticket.expires_at };
    Ok((StatusCode::CREATED, Answer(ticket)))
}
