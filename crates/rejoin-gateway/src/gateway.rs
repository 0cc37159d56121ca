//! The gateway: a hub behind HTTP and WebSocket, for a binary or an embedding program.

use std::{
    collections::HashMap,
    fmt, io,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::available_parallelism,
    time::Duration,
};

use rejoin_core::{Caps, Hub, Identity, Shutdown};
use rejoin_protocol::{CloseCode, UserId, limits, message};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{Instant, timeout},
};
use tracing::error;

use crate::{
    accept::Accept,
    browser_session::{BrowserSessionError, BrowserSessions},
    endpoint::Upgrades,
    gcra::{Rate, Rates},
    handler::MessageHandler,
    http::{self, AllowedHosts, Answers, FindPage, Pages},
    login_code::LoginCodes,
    peer::TrustedProxies,
    pending::PendingConnections,
    revocation::Revocations,
    shard::{Settings, Shards},
    ticket::Tickets,
    tls::Tls,
    token::{TokenError, Verifier},
};

/// How often the last uses of browser sessions are written; a crash forgets those since.
const SAVE_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// How a gateway behaves.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// What verifies tokens, and says what is asked of them.
    pub verifier: Verifier,
    /// Whether a token is needed at all; without one everybody is the user `anonymous` (B1).
    pub auth_required: bool,
    /// How long a connection may take to authenticate.
    pub auth_timeout: Duration,
    /// How often something is heard from a living peer; 100 ms or more.
    pub heartbeat: Duration,
    /// How long a client may take for the head of a request, the wait for it included.
    pub header_timeout: Duration,
    /// How long a client may take for the body of a request.
    pub body_timeout: Duration,
    /// How long a client may take for one message, from its first byte to its last.
    pub message_timeout: Duration,
    /// How long a client may leave its replies unread, while nothing more is read from it.
    pub reply_timeout: Duration,
    /// The longest time over which clients come back after the server has stopped.
    pub drain_window: Duration,
    /// The longest message from a client, in bytes.
    pub max_message_bytes: usize,
    /// Authenticated connections at one time; one more is refused.
    pub max_connections: usize,
    /// How fast a client may send.
    pub rates: Rates,
    /// Subscriptions, attachments and presences that a connection may have together.
    pub max_subscriptions: usize,
    /// Whether messages are compressed for clients that offer it (RFC 7692).
    pub compression: bool,
    /// Whether a token may stand in the address of a socket, where it ends in logs.
    pub token_in_url: bool,
    /// Origins that may connect besides the server's own, such as `https://example.org`.
    pub allowed_origins: Vec<String>,
    /// Names that a server without log-in answers to, besides `localhost` and its addresses: the
    /// host of `Host`, without a port.
    pub allowed_hosts: Vec<String>,
    /// Where login codes are kept; `None`: browsers log in with tokens only.
    pub login_codes: Option<LoginCodes>,
    /// The server's certificate, if it is the server that speaks TLS.
    pub tls: Option<Tls>,
    /// The proxies that are believed when they say for whom they speak.
    pub trusted_proxies: TrustedProxies,
    /// Sockets at one time that are not WebSockets, or not yet, and as many WebSockets that have
    /// not authenticated; for one more, the one that has waited for longest is closed.
    pub max_handshakes: NonZeroUsize,
    /// Sockets at one time, whatever their state; for one more, pending ones are closed.
    pub max_sockets: usize,
    /// WebSockets that an address may make, so many in a window; nothing: no limit (B8).
    pub connections_per_address: Option<Rate>,
    /// What writes to sockets; one shard for each core is right.
    pub shards: NonZeroUsize,
    /// The path below which all is served: `/`, or one such as `/rejoin/`.
    pub base_path: String,
    /// Whether anybody may read `/metrics`; else administrators may.
    pub public_metrics: bool,
}

impl GatewayConfig {
    /// The defaults with this verifier.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        Self {
            verifier,
            auth_required: true,
            auth_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            message_timeout: Duration::from_secs(30),
            reply_timeout: Duration::from_secs(30),
            drain_window: Duration::from_secs(30),
            max_message_bytes: limits::DEFAULT_MAX_MESSAGE_BYTES,
            max_connections: 1000,
            rates: Rates::default(),
            max_subscriptions: 1000,
            compression: true,
            token_in_url: false,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            login_codes: None,
            tls: None,
            trusted_proxies: TrustedProxies::default(),
            max_handshakes: NonZeroUsize::new(1024).expect("not zero"),
            max_sockets: usize::MAX,
            connections_per_address: None,
            shards: available_parallelism().unwrap_or(NonZeroUsize::MIN),
            base_path: "/".to_owned(),
            public_metrics: false,
        }
    }
}

/// A message type has a handler already, or is built in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message type `{0}` has a handler already, or is built in")]
pub struct HandlerExists(String);

/// A server, about to serve.
pub struct Gateway {
    hub: Hub,
    config: GatewayConfig,
    handlers: HashMap<String, Arc<dyn MessageHandler>>,
    pages: Option<Pages>,
    readiness: Readiness,
}

/// The answer of `/readyz`; a handle.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    has_ended: Arc<AtomicBool>,
}

impl Readiness {
    /// Makes `/readyz` fail from here on, while everything else goes on: load balancers look
    /// elsewhere before the listener closes.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// Whether it was ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }
}

/// What all requests and sockets share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    /// What all tasks of sockets belong to.
    pub(crate) shutdown: Shutdown,
    pub(crate) config: GatewayConfig,
    pub(crate) hosts: AllowedHosts,
    pub(crate) handlers: Handlers,
    /// One permit for each connection that may still come (B4).
    pub(crate) permits: Arc<Semaphore>,
    /// WebSockets that have not authenticated.
    pub(crate) unauthenticated: Arc<PendingConnections>,
    /// What was issued and not redeemed.
    pub(crate) tickets: Tickets,
    /// What was answered to requests that may be repeated.
    pub(crate) answers: Answers,
    /// When it began to serve.
    pub(crate) started: Instant,
    pub(crate) readiness: Readiness,
}

pub(crate) struct Handlers(pub(crate) HashMap<String, Arc<dyn MessageHandler>>);

impl Gateway {
    /// A gateway to this hub. A verifier without revocations or browser sessions keeps them in
    /// memory.
    #[must_use]
    pub fn new(hub: Hub, mut config: GatewayConfig) -> Self {
        if config.verifier.revocations().is_none() {
            config.verifier = config.verifier.with_revocations(Revocations::in_memory());
        }
        if config.verifier.browser_sessions().is_none() {
            let sessions = BrowserSessions::in_memory();
            config.verifier = config.verifier.with_browser_sessions(sessions);
        }
        Self { hub, config, handlers: HashMap::new(), pages: None, readiness: Readiness::default() }
    }

    /// Registers who answers a message type.
    ///
    /// # Errors
    /// [`HandlerExists`] if the type is built in or has a handler.
    pub fn handle(
        mut self,
        kind: &str,
        handler: impl MessageHandler,
    ) -> Result<Self, HandlerExists> {
        let taken = message::is_built_in(kind) || self.handlers.contains_key(kind);
        if taken {
            return Err(HandlerExists(kind.to_owned()));
        }
        self.handlers.insert(kind.to_owned(), Arc::new(handler));
        Ok(self)
    }

    /// Serves pages wherever no route of the gateway's own is.
    #[must_use]
    pub fn pages(mut self, find: FindPage) -> Self {
        self.pages = Some(Pages(find));
        self
    }

    /// The hub behind it.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// What `/readyz` says. Once the hub's shutdown has begun, it fails in any case.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Accepts connections until the hub's shutdown begins.
    ///
    /// # Errors
    /// If the system has no threads or descriptors for the shards.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let (shared, pages) = self.share(Some(listener.local_addr()?.ip()));
        shared.shutdown.spawn(save_browser_sessions(Arc::clone(&shared)));
        let settings = Settings { drain_window: shared.config.drain_window };
        if let Some(revocations) = shared.config.verifier.revocations().cloned() {
            let stop = shared.shutdown.clone();
            shared.shutdown.spawn(async move {
                tokio::select! {
                    () = revocations.keep_time() => {}
                    () = stop.begun() => {}
                }
            });
        }
        let shards = Arc::new(Shards::start(shared.config.shards, settings, &shared)?);
        let upgrades = Upgrades { shared: Arc::clone(&shared), shards: Arc::clone(&shards) };
        let router = http::router(upgrades, pages);
        let accept = Arc::new(Accept::new(&shared, router));
        shards.listen(listener.into_std()?, accept);
        shared.shutdown.begun().await;
        Ok(())
    }

    /// What requests and sockets share, and the pages.
    pub(crate) fn share(self, listen: Option<IpAddr>) -> (Arc<Shared>, Option<Pages>) {
        // Sockets are closed before what they show ends.
        let shutdown = self.hub.shutdown().layer("sockets");
        let permits = self.config.max_connections.min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(permits));
        let hosts = AllowedHosts::new(listen, self.config.allowed_hosts.clone());
        let metrics = Arc::clone(self.hub.metrics());
        let unauthenticated = PendingConnections::new(self.config.max_handshakes, metrics);
        let shared = Shared {
            hosts,
            hub: self.hub,
            config: self.config,
            shutdown,
            handlers: Handlers(self.handlers),
            permits,
            unauthenticated: Arc::new(unauthenticated),
            tickets: Tickets::new(),
            answers: Answers::default(),
            started: Instant::now(),
            readiness: self.readiness,
        };
        (Arc::new(shared), self.pages)
    }
}

impl Shared {
    pub(crate) async fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        self.config.verifier.verify(token).await
    }

    /// The log-ins of browsers.
    pub(crate) fn browser_sessions(&self) -> &BrowserSessions {
        self.config.verifier.browser_sessions().expect("a gateway keeps browser sessions")
    }

    /// Ends the browser sessions whose identities are chosen, and closes their connections.
    ///
    /// Returns the number of sessions when their end is on disk.
    ///
    /// # Errors
    /// [`BrowserSessionError::NotWritten`]; they have ended nevertheless.
    pub(crate) async fn end_browser_sessions(
        &self,
        chosen: impl Fn(&Identity) -> bool,
    ) -> Result<usize, BrowserSessionError> {
        let ended = self.browser_sessions().end(chosen);
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

    /// Who everybody is when no token is needed.
    pub(crate) fn anonymous(&self) -> Option<Identity> {
        (!self.config.auth_required).then(|| {
            let user = UserId::new("anonymous").expect("a valid user id");
            let caps = self.config.verifier.rules().default_caps.clone();
            Identity::new(user, Caps { admin: false, ..caps })
        })
    }
}

/// Writes the last uses of browser sessions to disk now and then, and at the end.
async fn save_browser_sessions(shared: Arc<Shared>) {
    let mut stops = false;
    while !stops {
        stops = timeout(SAVE_INTERVAL, shared.shutdown.begun()).await.is_ok();
        if let Err(error) = shared.browser_sessions().save().await {
            error!(%error, "browser sessions are not written");
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("hub", &self.hub).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
