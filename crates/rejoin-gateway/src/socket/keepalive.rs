//! The keepalive of one connection: pings, missed heartbeats, and the expiry of its token.

use std::time::Duration;

use rejoin_core::Connection;
use tokio::time::Instant;

/// The time before a token's expiry at which the client is notified.
const EXPIRY_NOTICE: Duration = Duration::from_secs(60);

/// The state of one connection's keepalive.
#[derive(Debug, Default)]
pub(crate) struct Keepalive {
    pinged_at: Option<Instant>,
    /// The last expiry that was announced, or 0, in milliseconds since the Unix epoch. The expiry
    /// of a refreshed token differs, so it is announced again.
    announced: u64,
}

/// The current time on both clocks. Tokens expire by wall-clock time, which may jump. Silence is
/// measured by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    /// Milliseconds since the Unix epoch.
    pub(crate) unix_ms: u64,
}

/// The next action of a keepalive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepaliveAction {
    /// Do nothing before this time.
    Wait(Instant),
    /// Send a ping: nothing was received and no ping was sent for one heartbeat.
    Ping,
    /// Close: nothing was received for two heartbeats.
    Silent,
    /// Announce the expiry of the token, in milliseconds since the Unix epoch.
    Expiring { expires_at: u64 },
    /// Close: the token has expired.
    Expired,
}

impl Keepalive {
    /// Returns the next action. Returns each action once: call again until it is
    /// [`KeepaliveAction::Wait`].
    pub(crate) fn next_action(
        &mut self,
        connection: &Connection,
        now: Now,
        heartbeat: Duration,
    ) -> KeepaliveAction {
        let (token_action, token_at) = self.check_token(connection.expires_at(), now);
        if let Some(action) = token_action {
            return action;
        }

        let received_at = connection.last_received_at();
        let silent_at = received_at + 2 * heartbeat;
        if now.at >= silent_at {
            return KeepaliveAction::Silent;
        }

        // Also counts from the last ping, so that a silent peer gets one ping per heartbeat.
        let ping_at = self.pinged_at.map_or(received_at, |pinged_at| pinged_at.max(received_at));
        let ping_at = ping_at + heartbeat;
        if now.at >= ping_at {
            self.pinged_at = Some(now.at);
            return KeepaliveAction::Ping;
        }

        let next = silent_at.min(ping_at);
        KeepaliveAction::Wait(token_at.map_or(next, |token_at| token_at.min(next)))
    }

    /// Returns the action that the token requires now, or the time at which it will require one.
    fn check_token(
        &mut self,
        expires_at: Option<u64>,
        now: Now,
    ) -> (Option<KeepaliveAction>, Option<Instant>) {
        let Some(expires_at) = expires_at else { return (None, None) };

        let left = Duration::from_millis(expires_at.saturating_sub(now.unix_ms));
        if left.is_zero() {
            return (Some(KeepaliveAction::Expired), None);
        }

        let notice_in = left.saturating_sub(EXPIRY_NOTICE);
        let announced = self.announced == expires_at;
        if notice_in.is_zero() && !announced {
            self.announced = expires_at;
            return (Some(KeepaliveAction::Expiring { expires_at }), None);
        }

        // Uses a checked addition, because a token may expire later than the clock can represent.
        (None, now.at.checked_add(if announced { left } else { notice_in }))
    }
}
