//! The binary, from its command line, its sockets and its signals.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod api;
mod blocked;
mod browsers;
mod certificate;
mod closing;
mod configuration;
mod descriptors;
mod effects;
mod failures;
mod heartbeat;
mod limits;
mod list;
mod lists;
mod login;
mod logs;
mod metrics;
mod proxy;
mod revocations;
mod rights;
mod stop;
mod support;
mod terminals;
mod topics;
mod unauthenticated;
