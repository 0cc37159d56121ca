//! The gateway, seen from its sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod api_errors;
mod api_people;
mod api_sessions;
mod bad_input;
mod browsers;
mod connection_limits;
mod description;
mod embedding;
mod http;
mod identity;
mod keepalive;
mod metrics;
mod pending_connections;
mod people;
mod program;
mod rate_limits;
mod raw_endpoint;
mod refresh;
mod resume;
mod slow_readers;
mod support;
mod terminals;
mod tls;
mod topics;
mod upgrades;
mod webhooks;
