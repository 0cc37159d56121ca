//! The binary, from its command line, its sockets and its signals.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod api;
mod blocked;
mod browsers;
mod certificate;
mod configuration;
mod effects;
mod failures;
mod heartbeat;
mod list;
mod login;
mod logs;
mod metrics;
mod proxy;
mod stop;
mod support;
mod topics;
