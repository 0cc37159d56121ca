//! Looking after connections: pings, the silence of peers, the ends of tokens.

use std::sync::LazyLock;

use bytes::Bytes;
use rejoin_core::{Connection, Item};
use rejoin_protocol::{
    CloseCode, ErrorCode,
    message::{ServerMessage, TokenExpiring},
};
use tokio::time::{Duration, Instant};
use tracing::debug;

use crate::shard::{
    run::Run,
    watch::{Due, Now, Watch},
};

/// A ping (RFC 6455 §5.5.2), the same for all.
static PING: LazyLock<Bytes> = LazyLock::new(|| rejoin_websocket::ping(b""));

/// Which connection to look after.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Alarm {
    slot: usize,
    generation: u64,
}

impl Run {
    /// Begins to look after a connection, or does so anew when its token was replaced.
    pub(super) fn attend(&mut self, slot: usize, connection: Connection) {
        let Some(Some(writer)) = self.writers.get_mut(slot) else { return };
        writer.watch = Some(Watch::new(connection));
        self.look_after(slot);
    }

    /// Looks after those whose alarm rings.
    pub(super) fn ring(&mut self) {
        let now = self.born_at.elapsed().as_secs();
        while let Some((tick, alarms)) = self.wheel.expire(now) {
            for Alarm { slot, generation } in alarms {
                let Some(writer) = self.writer(slot, generation) else { continue };
                // An earlier one may have been set since.
                if writer.alarm == Some(tick) {
                    writer.alarm = None;
                    self.look_after(slot);
                }
            }
        }
    }

    /// When the next alarm rings.
    pub(super) fn next_alarm(&self) -> Option<Instant> {
        self.wheel.next().map(|tick| self.born_at + Duration::from_secs(tick))
    }

    fn look_after(&mut self, slot: usize) {
        let heartbeat = self.settings.heartbeat;
        loop {
            let now = Now { at: Instant::now(), day: (self.settings.clock)() };
            let Some(Some(writer)) = self.writers.get_mut(slot) else { return };
            let Some(watch) = &mut writer.watch else { return };
            if writer.outbox.is_closed() {
                return;
            }
            match watch.due(now, heartbeat) {
                Due::Later(at) => return self.set_alarm(slot, at),
                // It would only lie with all else that the peer does not read.
                Due::Ping if writer.blocked => {}
                Due::Ping => {
                    self.metrics.pings_sent.inc();
                    writer.outbox.push(Item::Message(PING.clone()));
                }
                // The peer has spoken, and nobody has had the time to listen.
                Due::Gone if writer.socket.has_unread() => watch.connection().hear(),
                Due::Gone => {
                    debug!(slot, "nothing was heard for two heartbeats");
                    self.metrics.heartbeats_missed.inc();
                    writer.outbox.push(Item::Close(CloseCode::HeartbeatMissed.into()));
                }
                Due::Expiring { expires_at } => {
                    let expiring = ServerMessage::TokenExpiring(TokenExpiring { expires_at });
                    watch.connection().send(None, &expiring);
                }
                Due::Expired => {
                    watch.connection().send_error(None, ErrorCode::TokenExpired.into());
                    writer.outbox.push(Item::Close(CloseCode::TokenExpired.into()));
                }
            }
        }
    }

    fn set_alarm(&mut self, slot: usize, at: Instant) {
        let Some(Some(writer)) = self.writers.get_mut(slot) else { return };
        let after = at.duration_since(self.born_at);
        // Never too early: a look that finds nothing due is a look too many.
        let tick = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        if writer.alarm.is_none_or(|set| tick < set) {
            writer.alarm = Some(tick);
            self.wheel.insert(tick, Alarm { slot, generation: writer.generation });
        }
    }
}
