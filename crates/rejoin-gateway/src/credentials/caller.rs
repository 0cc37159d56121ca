//! The caller of an HTTP request, and its authority.

use std::sync::Arc;

use axum::{extract::FromRequestParts, http::request::Parts};
use rejoin_auth::{TokenError, Verifier};
use rejoin_core::{Authority, Identity};
use rejoin_protocol::{ErrorCode, UserId, message::ErrorBody};

use crate::{credentials::identify, problem::Problem, state::Shared};

/// The caller of an HTTP request.
///
/// A handler extracts it before anything else, so that a client without valid credentials learns
/// nothing more about its request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) identity: Arc<Identity>,
    /// Rechecks later that the identity is still valid.
    verifier: Verifier,
}

impl Caller {
    /// Returns the caller with this identity.
    pub(crate) fn new(shared: &Shared, identity: Identity) -> Self {
        let verifier = shared.config.verifier.clone();
        Self { identity: identity.into(), verifier }
    }

    /// Returns `true` for an administrator.
    pub(crate) fn is_admin(&self) -> bool {
        self.identity.caps.admin
    }

    /// Refuses all callers except administrators.
    ///
    /// # Errors
    /// `forbidden`.
    pub(crate) fn check_admin(&self) -> Result<(), Problem> {
        if self.is_admin() {
            return Ok(());
        }
        Err(Problem::new(ErrorCode::Forbidden, "only an administrator may do this"))
    }

    /// Refuses all callers except this user and administrators.
    ///
    /// # Errors
    /// `forbidden`, regardless of whether the user exists.
    pub(crate) fn check_user(&self, user: &UserId) -> Result<(), Problem> {
        // Does not look up the user: the response must not reveal whether the user exists.
        if self.is_admin() || self.identity.user == *user {
            return Ok(());
        }
        let detail = "only an administrator may do this for another user";
        Err(Problem::new(ErrorCode::Forbidden, detail))
    }
}

impl Authority for Caller {
    fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity)
    }

    fn check_at(&self, now_ms: u64) -> Result<(), ErrorBody> {
        let refused = |error: TokenError| ErrorBody::new(error.codes().0, error.to_string());
        self.verifier.recheck_at(&self.identity, now_ms).map_err(refused)
    }
}

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Arc<Shared>,
    ) -> Result<Self, Self::Rejection> {
        // Both a middleware and a handler may extract the caller. The token is verified only once.
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }

        let caller = Self::new(shared, identify(shared, parts).await?);
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}
