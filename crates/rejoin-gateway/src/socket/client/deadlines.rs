//! The deadlines of a client: authentication, incomplete messages, unread replies, keepalive.

use std::sync::Arc;

use rejoin_core::OutboxItem;
use rejoin_protocol::{
    CloseCode, ErrorCode,
    message::{self, ServerMessage},
};
use tokio::time::Instant;

use crate::socket::{
    client::{
        AuthState, Client,
        raw::{RETRY_INTERVAL, RawInput},
    },
    keepalive::{KeepaliveAction, Now},
};

/// The state of a client's socket that the keepalive depends on.
#[derive(Clone, Copy)]
pub(crate) struct SocketState<'a> {
    /// The socket is full.
    pub(crate) is_blocked: bool,
    /// Returns `true` if unread bytes are waiting in the socket. A function, because the check is a
    /// system call that is rarely needed.
    pub(crate) has_unread: &'a dyn Fn() -> bool,
}

impl Client {
    /// Acts on all deadlines that have passed. Returns the next deadline.
    ///
    /// # Errors
    /// The code with which the connection must be closed.
    pub(crate) fn check_deadlines(
        &mut self,
        now: Now,
        socket: SocketState<'_>,
    ) -> Result<Instant, CloseCode> {
        // A connection has a single timer, set to the earliest of its deadlines.
        let mut next = match &self.auth {
            AuthState::Authenticating { deadline, .. } if now.at >= *deadline => {
                return Err(self.authentication_timed_out());
            }
            AuthState::Authenticating { deadline, .. } => *deadline,
            AuthState::Authenticated { .. } => self.keep_alive(now, socket)?,
        };

        let config = &self.shared.config;
        let limits = [
            (self.unfinished_since, config.message_timeout),
            (self.stalled_since, config.reply_timeout),
            (self.raw.as_deref().and_then(RawInput::pending_since), config.reply_timeout),
        ];
        for (since, limit) in limits {
            let Some(since) = since else { continue };
            if now.at >= since + limit {
                return Err(CloseCode::TooSlow);
            }

            next = next.min(since + limit);
        }

        if self.has_pending_input() {
            self.retry_input();
            next = next.min(now.at + RETRY_INTERVAL);
        }

        Ok(next)
    }

    fn keep_alive(&mut self, now: Now, socket: SocketState<'_>) -> Result<Instant, CloseCode> {
        let metrics = Arc::clone(&self.shared.metrics);
        let heartbeat = self.shared.config.heartbeat;

        loop {
            let AuthState::Authenticated { membership, keepalive } = &mut self.auth else {
                return Ok(now.at + heartbeat);
            };
            let connection = membership.connection();
            match keepalive.next_action(connection, now, heartbeat) {
                KeepaliveAction::Wait(at) => return Ok(at),
                // A ping would only be queued behind output that the peer is not reading.
                KeepaliveAction::Ping if socket.is_blocked => {}
                KeepaliveAction::Ping => {
                    metrics.pings_sent.inc();
                    self.outbox.push(OutboxItem::Control(rejoin_websocket::ping(b"")));
                }
                // The peer has sent something that the server has not read, because reading is
                // paused. The peer is alive.
                KeepaliveAction::Silent if (socket.has_unread)() => connection.record_received(),
                KeepaliveAction::Silent => {
                    metrics.heartbeats_missed.inc();
                    return Err(CloseCode::HeartbeatMissed);
                }
                KeepaliveAction::Expiring { expires_at } => {
                    let expiring = message::TokenExpiring { expires_at };
                    connection.send(None, &ServerMessage::TokenExpiring(expiring));
                }
                KeepaliveAction::Expired => {
                    connection.send_error(None, ErrorCode::TokenExpired.into());
                    return Err(CloseCode::TokenExpired);
                }
            }
        }
    }
}
