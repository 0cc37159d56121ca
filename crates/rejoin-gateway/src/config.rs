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
    /// The verifier of tokens, with the rules for them.
    pub verifier: Verifier,
    /// Requires a token. Without it, each client is the user `anonymous`.
    pub auth_required: bool,
    /// The time that a WebSocket has to authenticate.
    pub auth_timeout: Duration,
    /// The interval of keepalives, at least 100 ms. A peer that is silent for two is closed.
    pub heartbeat: Duration,
    /// The time that a client has to send the head of a request, from the end of the last one.
    pub header_timeout: Duration,
    /// The time that a client has to send the body of a request.
    pub body_timeout: Duration,
    /// The time that a client has to send one message, from its first byte to its last.
    pub message_timeout: Duration,
    /// The time that a client may leave its replies unread. The server reads nothing from it
    /// meanwhile.
    pub reply_timeout: Duration,
    /// The longest period over which clients reconnect after the server has stopped.
    pub drain_window: Duration,
    /// The longest message from a client, in bytes.
    pub max_message_bytes: usize,
    /// The maximum number of authenticated connections. Above it, the server refuses new ones.
    pub max_connections: usize,
    /// The message rates of one client.
    pub rates: Rates,
    /// The maximum number of subscriptions, attachments and followed presences of one connection,
    /// together.
    pub max_subscriptions: usize,
    /// Compresses messages for clients that offer it (RFC 7692).
    pub compression: bool,
    /// Allows a token in the URL of a WebSocket, where logs and histories record it.
    pub token_in_url: bool,
    /// The origins that may connect besides the server's own, such as `https://example.org`.
    pub allowed_origins: Vec<String>,
    /// The host names that a server without log-in answers to besides `localhost` and its
    /// addresses: the host of `Host`, without a port.
    pub allowed_hosts: Vec<String>,
    /// The login codes of the server. `None`: browsers log in with tokens only.
    pub login_codes: Option<LoginCodes>,
    /// The tickets of the server, by default in memory.
    pub tickets: Tickets,
    /// The certificate, if the server itself speaks TLS.
    pub tls: Option<Tls>,
    /// The proxies whose `Forwarded` and `X-Forwarded-*` headers the server trusts.
    pub trusted_proxies: TrustedProxies,
    /// The maximum number of pending HTTP sockets, and separately of WebSockets that have not
    /// authenticated. Above it, the oldest is closed.
    pub max_handshakes: NonZeroUsize,
    /// The maximum number of open sockets of any kind. Above it, pending ones are closed.
    pub max_sockets: usize,
    /// The rate of new WebSockets from one address. `None`: no limit.
    pub connections_per_address: Option<Rate>,
    /// The number of I/O threads, by default one per core.
    pub shards: NonZeroUsize,
    /// The path below which everything is served: `/`, or one such as `/rejoin/`.
    pub base_path: String,
    /// Serves `/metrics` to all clients, not only to administrators.
    pub public_metrics: bool,
}

impl GatewayConfig {
    /// Returns the defaults with this verifier.
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
