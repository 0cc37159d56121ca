//! The authority behind a request: its rights, checked at the moment of the effect.

use std::{fmt, sync::Arc};

use rejoin_protocol::{ErrorCode, message::ErrorBody};

use crate::{access::Identity, time::now_ms};

/// The source of a request's rights.
///
/// A request may wait between its arrival and its effect. An operation therefore calls
/// [`check`](Self::check) again immediately before it changes anything.
pub trait Authority: fmt::Debug + Send + Sync {
    /// Returns the identity on whose behalf the request acts.
    fn identity(&self) -> Arc<Identity>;

    /// Checks that the request may have an effect now; `now_ms` is the current time.
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

/// An identity without a connection. It is valid until its token expires.
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
