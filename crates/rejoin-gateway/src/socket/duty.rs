//! The duties of a client that come with time: its login, its messages, its keepalive.

use std::sync::Arc;

use rejoin_core::OutboxItem;
use rejoin_protocol::{
    CloseCode, ErrorCode,
    message::{self, ServerMessage},
};
use tokio::time::Instant;

use crate::{
    shard::{Duty, Now},
    socket::{
        client::{Client, Stage},
        raw::{RETRY, Raw},
    },
};

/// The state of a client's socket, as its keepalive needs it.
#[derive(Clone, Copy)]
pub(crate) struct SocketState<'a> {
    /// It takes nothing.
    pub(crate) is_blocked: bool,
    /// Looks whether bytes of the peer wait in it.
    pub(crate) has_unread: &'a dyn Fn() -> bool,
}

impl Client {
    /// Does what is due; returns when the next duty is.
    ///
    /// # Errors
    /// The code with which the connection must be closed.
    pub(crate) fn look_after(
        &mut self,
        now: Now,
        socket: SocketState<'_>,
    ) -> Result<Instant, CloseCode> {
        let mut next = match &self.stage {
            Stage::Authenticating { deadline, .. } if now.at >= *deadline => {
                return Err(self.time_out());
            }
            Stage::Authenticating { deadline, .. } => *deadline,
            Stage::Authenticated { .. } => self.keep_alive(now, socket)?,
        };
        let limits = [
            (self.unfinished_since, self.shared.config.message_timeout),
            (self.stalled_since, self.shared.config.reply_timeout),
            (self.raw.as_deref().and_then(Raw::typing_since), self.shared.config.reply_timeout),
        ];
        for (since, limit) in limits {
            let Some(since) = since else { continue };
            if now.at >= since + limit {
                return Err(CloseCode::TooSlow);
            }
            next = next.min(since + limit);
        }
        if self.is_typing() {
            self.type_on();
            next = next.min(now.at + RETRY);
        }
        Ok(next)
    }

    fn keep_alive(&mut self, now: Now, socket: SocketState<'_>) -> Result<Instant, CloseCode> {
        let metrics = Arc::clone(self.shared.hub.metrics());
        let heartbeat = self.shared.config.heartbeat;
        loop {
            let Stage::Authenticated { membership, keepalive } = &mut self.stage else {
                return Ok(now.at + heartbeat);
            };
            let connection = membership.connection();
            match keepalive.duty(connection, now, heartbeat) {
                Duty::Wait(at) => return Ok(at),
                // It would only lie with all else that the peer does not read.
                Duty::Ping if socket.is_blocked => {}
                Duty::Ping => {
                    metrics.pings_sent.inc();
                    self.outbox.push(OutboxItem::Control(rejoin_websocket::ping(b"")));
                }
                // The peer has sent something, and the server has not read it yet.
                Duty::Silent if (socket.has_unread)() => connection.record_received(),
                Duty::Silent => {
                    metrics.heartbeats_missed.inc();
                    return Err(CloseCode::HeartbeatMissed);
                }
                Duty::Expiring { expires_at } => {
                    let expiring = message::TokenExpiring { expires_at };
                    connection.send(None, &ServerMessage::TokenExpiring(expiring));
                }
                Duty::Expired => {
                    connection.send_error(None, ErrorCode::TokenExpired.into());
                    return Err(CloseCode::TokenExpired);
                }
            }
        }
    }
}
