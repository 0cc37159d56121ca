//! The binary, from its command line, its sockets and its signals.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod api;
mod certificate;
mod configuration;
mod failures;
mod login;
mod logs;
mod proxy;
mod stop;
mod support;
mod topics;
