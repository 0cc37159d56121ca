//! The configuration of a gateway.

use std::{num::NonZeroUsize, thread::available_parallelism, time::Duration};

use rejoin_auth::{LoginCodes, Tickets, Verifier};
use rejoin_protocol::limits;

use crate::{
    gcra::{Rate, Rates},
    peer::TrustedProxies,
    tls::Tls,
};

/// The configuration of a [`Gateway`](crate::Gateway).
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Verifies tokens, and holds the rules for them.
    pub verifier: Verifier,
    /// Requires clients to authenticate. If `false`, each client is the user `anonymous`.
    pub auth_required: bool,
    /// The time within which a WebSocket must authenticate.
    pub auth_timeout: Duration,
    /// The interval of keepalives, at least 100 ms. A peer that is silent for two intervals is
    /// disconnected.
    pub heartbeat: Duration,
    /// The time within which the head of a request must arrive, counted from the end of the
    /// previous request.
    pub header_timeout: Duration,
    /// The time within which the body of a request must arrive.
    pub body_timeout: Duration,
    /// The time within which a message must arrive, from its first byte to its last.
    pub message_timeout: Duration,
    /// The time for which a client may leave its replies unread. Until it reads them, the server
    /// reads nothing from it.
    pub reply_timeout: Duration,
    /// The longest period over which a stop spreads the reconnects of clients.
    pub drain_window: Duration,
    /// The maximum length of a message from a client, in bytes.
    pub max_message_bytes: usize,
    /// The maximum number of authenticated connections. The server refuses any more.
    pub max_connections: usize,
    /// The rates at which one client may send messages.
    pub rates: Rates,
    /// The maximum number of subscriptions, attachments and followed presences of one connection,
    /// counted together.
    pub max_subscriptions: usize,
    /// Compresses messages for clients that offer it (RFC 7692).
    pub compression: bool,
    /// Allows a token in the URL of a WebSocket. Logs and browser histories may record the URL.
    pub token_in_url: bool,
    /// Origins besides the server's own that may connect, such as `https://example.org`.
    pub allowed_origins: Vec<String>,
    /// The host names, without ports, that a server without log-in accepts in `Host` besides
    /// `localhost` and its own addresses.
    pub allowed_hosts: Vec<String>,
    /// The login codes of the server. If `None`, browsers can log in with tokens only.
    pub login_codes: Option<LoginCodes>,
    /// The tickets of the server, by default in memory.
    pub tickets: Tickets,
    /// The certificate, if the server itself speaks TLS.
    pub tls: Option<Tls>,
    /// The proxies whose `Forwarded` and `X-Forwarded-*` headers the server trusts.
    pub trusted_proxies: TrustedProxies,
    /// The maximum number of pending HTTP sockets, and separately of unauthenticated WebSockets.
    /// Above it, the server closes the oldest one.
    pub max_handshakes: NonZeroUsize,
    /// The maximum number of open sockets of any kind. Above it, the server closes pending ones.
    pub max_sockets: usize,
    /// The maximum rate of new WebSockets from one address. `None` means no limit.
    pub connections_per_address: Option<Rate>,
    /// The number of I/O threads. One per core by default.
    pub shards: NonZeroUsize,
    /// The path below which everything is served: `/`, or a path such as `/rejoin/`.
    pub base_path: String,
    /// Serves `/metrics` to all clients, not only to administrators.
    pub public_metrics: bool,
}

impl GatewayConfig {
    /// Returns the default configuration with this verifier.
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
            tickets: Tickets::in_memory(),
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
