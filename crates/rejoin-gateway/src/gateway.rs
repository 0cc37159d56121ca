//! The gateway: a hub behind HTTP and WebSocket, for a binary or an embedding program.

use std::{
    collections::HashMap, fmt, io, num::NonZeroUsize, sync::Arc, thread::available_parallelism,
    time::Duration,
};

use rejoin_core::{Caps, Hub, Identity, now_ms};
use rejoin_protocol::{UserId, limits, message};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{
    accept,
    handler::MessageHandler,
    http::{self, FindPage, Pages},
    shard::{Counts, Settings, Shards},
    token::{TokenError, TokenKey, TokenRules},
};

/// How a gateway behaves.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// What verifies tokens.
    pub key: TokenKey,
    /// What is asked of tokens.
    pub token_rules: TokenRules,
    /// Whether a token is needed at all; without one everybody is the user `anonymous` (B1).
    pub auth_required: bool,
    /// How long a connection may take to authenticate.
    pub auth_timeout: Duration,
    /// How often something is heard from a living peer.
    pub heartbeat: Duration,
    /// The longest time over which clients come back after the server has stopped.
    pub drain_window: Duration,
    /// The longest message from a client, in bytes.
    pub max_message_bytes: usize,
    /// Connections at one time; one more is refused.
    pub max_connections: usize,
    /// Origins that may connect besides the server's own, such as `https://example.org`.
    pub allowed_origins: Vec<String>,
    /// What writes to sockets; one shard for each core is right.
    pub shards: NonZeroUsize,
}

impl GatewayConfig {
    /// The defaults with this key.
    #[must_use]
    pub fn new(key: TokenKey) -> Self {
        Self {
            key,
            token_rules: TokenRules::default(),
            auth_required: true,
            auth_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(30),
            drain_window: Duration::from_secs(30),
            max_message_bytes: limits::DEFAULT_MAX_MESSAGE_BYTES,
            max_connections: 1000,
            allowed_origins: Vec::new(),
            shards: available_parallelism().unwrap_or(NonZeroUsize::MIN),
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
    counts: Arc<Counts>,
}

/// What all requests and sockets share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) config: GatewayConfig,
    pub(crate) handlers: Handlers,
    pub(crate) shards: Shards,
    /// One permit for each connection that may still come (B4).
    pub(crate) permits: Arc<Semaphore>,
}

pub(crate) struct Handlers(pub(crate) HashMap<String, Arc<dyn MessageHandler>>);

impl Gateway {
    /// A gateway to this hub.
    #[must_use]
    pub fn new(hub: Hub, config: GatewayConfig) -> Self {
        Self { hub, config, handlers: HashMap::new(), pages: None, counts: Arc::default() }
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

    /// What is sent to its sockets, in numbers.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Accepts connections until the hub's shutdown begins.
    ///
    /// # Errors
    /// What the listener fails with.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let settings = Settings {
            heartbeat: self.config.heartbeat,
            drain_window: self.config.drain_window,
            clock: now_ms,
        };
        let (count, shutdown) = (self.config.shards, self.hub.shutdown());
        let shards = Shards::start(count, settings, &self.counts, shutdown);
        let permits = self.config.max_connections.min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(permits));
        let shared = Shared {
            hub: self.hub,
            config: self.config,
            handlers: Handlers(self.handlers),
            shards,
            permits,
        };
        let shared = Arc::new(shared);
        let router = http::router(Arc::clone(&shared), self.pages);
        accept::run(listener, router, shared.hub.shutdown()).await
    }
}

impl Shared {
    pub(crate) fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        self.config.key.verify(token, &self.config.token_rules)
    }

    /// Who everybody is when no token is needed.
    pub(crate) fn anonymous(&self) -> Option<Identity> {
        (!self.config.auth_required).then(|| Identity {
            user: UserId::new("anonymous").expect("a valid user id"),
            device: None,
            caps: Caps { admin: false, ..self.config.token_rules.default_caps.clone() },
            expires_at: None,
        })
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
