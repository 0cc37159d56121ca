//! The state that all requests and sockets of a gateway share.

use std::{
    net::IpAddr,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rejoin_auth::{BrowserSessionError, BrowserSessions, Revocations, TokenError};
use rejoin_core::{Caps, Hub, Identity, Shutdown};
use rejoin_protocol::{CloseCode, UserId};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    address_limit::AddressLimit, config::GatewayConfig, handler::Handlers, host::AllowedHosts,
    metrics::GatewayMetrics, pending::PendingConnections, response_cache::ResponseCache,
};

/// The state of a running gateway.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) metrics: Arc<GatewayMetrics>,
    /// Owns all tasks that serve sockets.
    pub(crate) shutdown: Shutdown,
    pub(crate) config: GatewayConfig,
    pub(crate) hosts: AllowedHosts,
    pub(crate) handlers: Handlers,
    /// One permit for each authenticated connection that the server can still accept.
    pub(crate) permits: Arc<Semaphore>,
    /// WebSockets that have not authenticated.
    pub(crate) unauthenticated: Arc<PendingConnections>,
    /// Sockets that have sent everything and wait for their peers to end.
    pub(crate) lingering: Arc<PendingConnections>,
    /// The log-ins of each address: each one writes all browser sessions to the disk.
    pub(crate) logins: AddressLimit,
    /// Responses to requests with an idempotency key.
    pub(crate) responses: ResponseCache,
    pub(crate) started: Instant,
    pub(crate) readiness: Readiness,
}

/// The state that `/readyz` reports. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    has_ended: Arc<AtomicBool>,
}

impl Readiness {
    /// Makes `/readyz` fail from now on. Everything else is still served.
    ///
    /// Load balancers can then send clients elsewhere before the listener closes.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// Returns `true` after [`end`](Self::end).
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Creates the state. `listen` is the address of the listener, if there is one.
    ///
    /// If the verifier has no store of revocations or browser sessions, they are kept in memory.
    pub(crate) fn new(
        hub: Hub,
        mut config: GatewayConfig,
        handlers: Handlers,
        readiness: Readiness,
        listen: Option<IpAddr>,
    ) -> Self {
        // The API can always revoke, and `revocations` relies on it.
        if config.verifier.revocations().is_none() {
            config.verifier = config.verifier.with_revocations(Revocations::in_memory());
        }
        if config.verifier.browser_sessions().is_none() {
            let sessions = BrowserSessions::in_memory();
            config.verifier = config.verifier.with_browser_sessions(sessions);
        }

        // An outer layer, so that sockets close before the sessions that they show end.
        let shutdown = hub.shutdown().layer("sockets");
        // Tokio panics if there are more permits.
        let permits = config.max_connections.min(Semaphore::MAX_PERMITS);
        let hosts = match config.auth_required {
            true => AllowedHosts::all(),
            false => AllowedHosts::new(listen, &config.allowed_hosts),
        };
        let metrics = hub.metrics().group::<GatewayMetrics>();
        let logins = AddressLimit::new(config.connections_per_address);
        let unauthenticated =
            PendingConnections::new(config.max_handshakes, Some(Arc::clone(&metrics)));
        // Needs no bound of its own: `max_sockets` bounds their number, and a deadline their time.
        let lingering = PendingConnections::new(NonZeroUsize::MAX, None);

        Self {
            hub,
            metrics,
            shutdown,
            config,
            hosts,
            handlers,
            permits: Arc::new(Semaphore::new(permits)),
            unauthenticated: Arc::new(unauthenticated),
            lingering: Arc::new(lingering),
            logins,
            responses: ResponseCache::default(),
            started: Instant::now(),
            readiness,
        }
    }

    /// Verifies a token, like [`Verifier::verify`](rejoin_auth::Verifier::verify).
    pub(crate) async fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        self.config.verifier.verify(token).await
    }

    /// Returns the browser sessions of the server.
    pub(crate) fn browser_sessions(&self) -> &BrowserSessions {
        self.config.verifier.browser_sessions().expect("set by `Shared::new`")
    }

    /// Returns the revocations of the server.
    pub(crate) fn revocations(&self) -> &Revocations {
        self.config.verifier.revocations().expect("set by `Shared::new`")
    }

    /// Ends the browser sessions whose identities match, and closes their connections.
    ///
    /// Returns the number of sessions once their end is on disk.
    ///
    /// # Errors
    /// [`BrowserSessionError::NotWritten`]. The sessions have ended nevertheless.
    pub(crate) async fn end_browser_sessions(
        &self,
        matches: impl Fn(&Identity) -> bool,
    ) -> Result<usize, BrowserSessionError> {
        let ended = self.browser_sessions().end(matches);
        // Closed before the write: a slow disk must not keep revoked connections open.
        self.close_logged_out();
        self.browser_sessions().write().await?;
        Ok(ended)
    }

    /// Closes the connections whose browser sessions have ended.
    pub(crate) fn close_logged_out(&self) {
        self.hub.disconnect(CloseCode::AuthenticationFailed, |connection| {
            let recheck = self.config.verifier.recheck(&connection.identity());
            recheck == Err(TokenError::LoggedOut)
        });
    }

    /// Returns the identity that all clients share if no token is required.
    pub(crate) fn anonymous(&self) -> Option<Identity> {
        // Never an administrator, whatever the default rights are.
        (!self.config.auth_required).then(|| {
            let user = UserId::new("anonymous").expect("a valid user id");
            let caps = self.config.verifier.rules().default_caps.clone();
            Identity::new(user, Caps { admin: false, ..caps })
        })
    }
}
