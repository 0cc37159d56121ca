//! The gateway: serves a hub over HTTP and WebSocket, for a binary or an embedding program.

use std::{fmt, io, net::IpAddr, sync::Arc, time::Duration};

use rejoin_core::Hub;
use rejoin_protocol::message;
use tokio::{net::TcpListener, time::timeout};
use tracing::error;

use crate::{
    accept::Accept,
    config::GatewayConfig,
    endpoint::Upgrades,
    handler::{Handlers, MessageHandler},
    http::{self, FindPage, Pages},
    metrics::GatewayMetrics,
    shard::{Settings, Shards},
    state::{Readiness, Shared},
};

/// The interval at which the last uses of browser sessions are written. A crash loses those since
/// the last write.
const SAVE_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// The error of [`Gateway::handle`] for a message type that already has a handler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message type `{0}` already has a handler, or is built in")]
pub struct HandlerExists(String);

/// A server of one hub, before it serves.
///
/// ```
/// use std::{sync::Arc, time::Duration};
///
/// use rejoin_core::{Hub, HubConfig, MemoryScreens, MemoryTerminals, Shutdown};
/// use rejoin_gateway::{Gateway, GatewayConfig, Signer, encode};
/// use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shutdown = Shutdown::new();
/// let config = HubConfig::new(encode, MemoryTerminals::new(), Arc::new(MemoryScreens));
/// let hub = Hub::new(config, &shutdown);
/// let signer = Signer::hs256(b"at least thirty-two bytes of secret")?;
/// let gateway = Gateway::new(hub, GatewayConfig::new(signer.verifier()));
///
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let serving = tokio::spawn(gateway.serve(listener));
///
/// // Stops the listener, then the sockets, then the sessions.
/// let aborted = shutdown.finish(Duration::from_secs(10)).await;
/// assert_eq!(aborted, 0);
/// serving.await??;
/// # Ok(())
/// # }
/// ```
pub struct Gateway {
    hub: Hub,
    config: GatewayConfig,
    handlers: Handlers,
    pages: Option<Pages>,
    readiness: Readiness,
}

impl Gateway {
    /// Creates a gateway for this hub.
    ///
    /// If the verifier has no store of revocations or browser sessions, they are kept in memory.
    #[must_use]
    pub fn new(hub: Hub, config: GatewayConfig) -> Self {
        // Registered here, so that all metrics exist before the first request.
        hub.metrics().group::<GatewayMetrics>();
        let (handlers, readiness) = (Handlers::default(), Readiness::default());
        Self { hub, config, handlers, pages: None, readiness }
    }

    /// Registers the handler of a message type.
    ///
    /// ```
    /// use rejoin_core::{BoxFuture, Connection};
    /// use rejoin_gateway::{Gateway, HandlerExists, MessageHandler, Reply};
    /// use rejoin_protocol::message::ErrorBody;
    /// use serde_json::{json, value::RawValue};
    ///
    /// /// Replies to `whoami` with the user of the connection.
    /// struct WhoAmI;
    ///
    /// impl MessageHandler for WhoAmI {
    ///     fn handle<'a>(
    ///         &'a self,
    ///         connection: &'a Connection,
    ///         _payload: Option<&'a RawValue>,
    ///     ) -> BoxFuture<'a, Result<Option<Reply>, ErrorBody>> {
    ///         let payload = json!({ "user": connection.user() });
    ///         Box::pin(async { Ok(Some(Reply { kind: "user".to_owned(), payload })) })
    ///     }
    /// }
    ///
    /// fn with_handler(gateway: Gateway) -> Result<Gateway, HandlerExists> {
    ///     gateway.handle("whoami", WhoAmI)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`HandlerExists`] if the type is built in or already has a handler.
    pub fn handle(
        mut self,
        kind: &str,
        handler: impl MessageHandler,
    ) -> Result<Self, HandlerExists> {
        let Handlers(handlers) = &mut self.handlers;
        if message::is_built_in(kind) || handlers.contains_key(kind) {
            return Err(HandlerExists(kind.to_owned()));
        }
        handlers.insert(kind.to_owned(), Arc::new(handler));
        Ok(self)
    }

    /// Serves pages at all paths that are not routes of the gateway.
    ///
    /// ```
    /// use rejoin_gateway::{Gateway, Page};
    ///
    /// fn find(path: &str) -> Option<Page> {
    ///     (path == "index.html").then(|| Page {
    ///         content: b"<h1>Sessions</h1>".into(),
    ///         content_type: "text/html; charset=utf-8".to_owned(),
    ///         tag: "1".to_owned(),
    ///     })
    /// }
    ///
    /// fn with_pages(gateway: Gateway) -> Gateway {
    ///     gateway.pages(find)
    /// }
    /// ```
    #[must_use]
    pub fn pages(mut self, find: FindPage) -> Self {
        self.pages = Some(Pages(find));
        self
    }

    /// Returns the hub.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Returns the metrics of HTTP and of sockets.
    #[must_use]
    pub fn metrics(&self) -> Arc<GatewayMetrics> {
        self.hub.metrics().group()
    }

    /// Returns the switch that makes `/readyz` fail. It also fails once the hub's shutdown begins.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Accepts connections until the hub's shutdown begins.
    ///
    /// # Errors
    /// If the system cannot provide the threads or file descriptors for the shards.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let (shared, pages) = self.share(Some(listener.local_addr()?.ip()));
        shared.shutdown.spawn(save_browser_sessions(Arc::clone(&shared)));
        shared.shutdown.spawn(save_revocations(Arc::clone(&shared)));

        let settings = Settings { drain_window: shared.config.drain_window };
        // Started before the listener: the first socket needs all of these parts.
        let shards = Arc::new(Shards::start(shared.config.shards, settings, &shared)?);
        let upgrades = Upgrades { shared: Arc::clone(&shared), shards: Arc::clone(&shards) };
        let accept = Arc::new(Accept::new(&shared, http::router(upgrades, pages)));

        // The first shard polls the listener itself, without the runtime.
        shards.listen(listener.into_std()?, accept);
        shared.shutdown.begun().await;
        Ok(())
    }

    /// Splits the gateway into the state that requests and sockets share, and the pages.
    pub(crate) fn share(self, listen: Option<IpAddr>) -> (Arc<Shared>, Option<Pages>) {
        let Self { hub, config, handlers, pages, readiness } = self;
        (Arc::new(Shared::new(hub, config, handlers, readiness, listen)), pages)
    }
}

/// Writes the last uses of browser sessions to disk periodically and at shutdown.
async fn save_browser_sessions(shared: Arc<Shared>) {
    let mut stops = false;
    while !stops {
        stops = timeout(SAVE_INTERVAL, shared.shutdown.begun()).await.is_ok();
        if let Err(error) = shared.browser_sessions().save().await {
            error!(%error, "cannot write the browser sessions");
        }
    }
}

/// Writes the remaining times of revocations to disk periodically.
async fn save_revocations(shared: Arc<Shared>) {
    tokio::select! {
        () = shared.revocations().save_hourly() => {}
        () = shared.shutdown.begun() => {}
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("hub", &self.hub).finish_non_exhaustive()
    }
}
