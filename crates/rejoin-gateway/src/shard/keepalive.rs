//! The keepalive of one connection: the silence of its peer, and the end of its token.

use std::time::Duration;

use rejoin_core::Connection;
use tokio::time::Instant;

/// How long before its token's end a client is notified.
const EXPIRY_NOTICE: Duration = Duration::from_secs(60);

/// The state of one connection's keepalive.
#[derive(Debug, Default)]
pub(crate) struct Keepalive {
    pinged_at: Option<Instant>,
    /// The end of the token that was announced, or 0; a new token is announced anew.
    announced: u64,
}

/// Two clocks: tokens end by the time of day, which may jump; silence is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    /// Milliseconds since the epoch.
    pub(crate) day: u64,
}

/// The next duty of a keepalive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Nothing before this time.
    Wait(Instant),
    /// Send a ping: nothing was received, and no ping sent, for one heartbeat.
    Ping,
    /// Close: nothing was received for two heartbeats.
    Silent,
    /// Announce the end of the token.
    Expiring { expires_at: u64 },
    /// Close: the token has expired.
    Expired,
}

impl Keepalive {
    /// Returns the first duty. Each is returned once; call again until it is [`Duty::Wait`].
    pub(crate) fn duty(&mut self, connection: &Connection, now: Now, heartbeat: Duration) -> Duty {
        let (token, token_at) = self.token_duty(connection.expires_at(), now);
        if let Some(duty) = token {
            return duty;
        }

        let heard_at = connection.last_received_at();
        let silent_at = heard_at + 2 * heartbeat;
        if now.at >= silent_at {
            return Duty::Silent;
        }

        let ping_at = self.pinged_at.map_or(heard_at, |pinged_at| pinged_at.max(heard_at));
        let ping_at = ping_at + heartbeat;
        if now.at >= ping_at {
            self.pinged_at = Some(now.at);
            return Duty::Ping;
        }
        let next = silent_at.min(ping_at);
        Duty::Wait(token_at.map_or(next, |token_at| token_at.min(next)))
    }

    /// The token's duty, or when it has one.
    fn token_duty(&mut self, expires_at: Option<u64>, now: Now) -> (Option<Duty>, Option<Instant>) {
        let Some(expires_at) = expires_at else { return (None, None) };
        let left = Duration::from_millis(expires_at.saturating_sub(now.day));
        if left.is_zero() {
            return (Some(Duty::Expired), None);
        }
        let notice_in = left.saturating_sub(EXPIRY_NOTICE);
        let announced = self.announced == expires_at;
        if notice_in.is_zero() && !announced {
            self.announced = expires_at;
            return (Some(Duty::Expiring { expires_at }), None);
        }
        // A token may end after the end of a clock.
        (None, now.at.checked_add(if announced { left } else { notice_in }))
    }
}
