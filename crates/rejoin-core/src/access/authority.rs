//! The authority behind a request: its rights, checked at the moment of the effect.

use std::{fmt, sync::Arc};

use rejoin_protocol::{ErrorCode, message::ErrorBody};

use crate::{access::Identity, connection::Connection, time::now_ms};

/// The source of a request's rights.
///
/// A request may wait between its arrival and its effect. An operation therefore calls
/// [`check`](Self::check) again immediately before it changes anything.
pub trait Authority: fmt::Debug + Send + Sync {
    /// The identity on whose behalf the request acts.
    fn identity(&self) -> Arc<Identity>;

    /// Checks that the request may have an effect at this time, which is now, in milliseconds
    /// since the epoch.
    ///
    /// # Errors
    /// The reason, such as `token_expired` or `token_revoked`.
    fn check_at(&self, now_ms: u64) -> Result<(), ErrorBody>;

    /// Checks that the request may have an effect now.
    ///
    /// # Errors
    /// As [`check_at`](Self::check_at).
    fn check(&self) -> Result<(), ErrorBody> {
        self.check_at(now_ms())
    }
}

/// An identity without a connection: it is valid until its token expires.
impl Authority for Identity {
    fn identity(&self) -> Arc<Identity> {
        Arc::new(self.clone())
    }

    fn check_at(&self, now_ms: u64) -> Result<(), ErrorBody> {
        if self.expires_at.is_some_and(|end| end <= now_ms) {
            return Err(ErrorCode::TokenExpired.into());
        }
        Ok(())
    }
}

/// The author of input that waits for a terminal.
#[derive(Clone, Debug)]
pub enum Author {
    /// The server or the embedding program.
    Server,
    /// A connection.
    Connection(Connection),
    /// A request without a connection.
    Request(Arc<dyn Authority>),
}

impl Author {
    /// Returns true while the input may be written.
    ///
    /// A connection that ended by itself keeps its input: a user may type and close the tab. One
    /// whose rights were taken back does not.
    #[must_use]
    pub fn may_write(&self) -> bool {
        match self {
            Self::Server => true,
            Self::Connection(connection) => connection.has_rights(),
            Self::Request(authority) => authority.check().is_ok(),
        }
    }
}
