//! The watch over one connection: whether its peer is alive, and when its token ends.

use std::time::Duration;

use rejoin_core::Connection;
use tokio::time::Instant;

/// How long before its token's end a client is told.
const EXPIRY_NOTICE: Duration = Duration::from_secs(60);

/// What a shard knows of a connection that it looks after.
#[derive(Debug)]
pub(super) struct Watch {
    connection: Connection,
    pinged_at: Option<Instant>,
    /// The end of the token that was announced, or 0; a new token is announced anew.
    announced: u64,
}

/// The two clocks: tokens end by the time of day, which may jump; silence is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) at: Instant,
    /// Milliseconds since the epoch.
    pub(super) day: u64,
}

/// What a connection needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before this time.
    Later(Instant),
    /// A ping: nothing was heard, and none was sent, for one heartbeat.
    Ping,
    /// It is gone: nothing was heard for two heartbeats.
    Gone,
    /// Its token ends soon.
    Expiring { expires_at: u64 },
    /// Its token has ended.
    Expired,
}

impl Watch {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, pinged_at: None, announced: 0 }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What is due first. Each thing is said once; ask again until nothing is.
    pub(super) fn due(&mut self, now: Now, heartbeat: Duration) -> Due {
        let (token, token_at) = self.token_due(now);
        if let Some(due) = token {
            return due;
        }
        let heard_at = self.connection.heard_at();
        let gone_at = heard_at + 2 * heartbeat;
        if now.at >= gone_at {
            return Due::Gone;
        }
        let ping_at = self.pinged_at.map_or(heard_at, |pinged_at| pinged_at.max(heard_at));
        let ping_at = ping_at + heartbeat;
        if now.at >= ping_at {
            self.pinged_at = Some(now.at);
            return Due::Ping;
        }
        let silence_at = gone_at.min(ping_at);
        Due::Later(token_at.map_or(silence_at, |token_at| token_at.min(silence_at)))
    }

    /// What its token asks for, or when it will.
    fn token_due(&mut self, now: Now) -> (Option<Due>, Option<Instant>) {
        let Some(expires_at) = self.connection.expires_at() else { return (None, None) };
        let left = Duration::from_millis(expires_at.saturating_sub(now.day));
        if left.is_zero() {
            return (Some(Due::Expired), None);
        }
        let notice_in = left.saturating_sub(EXPIRY_NOTICE);
        let announced = self.announced == expires_at;
        if notice_in.is_zero() && !announced {
            self.announced = expires_at;
            return (Some(Due::Expiring { expires_at }), None);
        }
        // A token may end after the end of a clock.
        (None, now.at.checked_add(if announced { left } else { notice_in }))
    }
}
