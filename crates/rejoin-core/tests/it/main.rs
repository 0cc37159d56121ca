//! The promises of streams, readers, sessions and the hub.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod access;
mod events;
mod hub;
mod lag;
mod metrics;
mod outbox;
mod pacing;
mod promise;
mod retention;
mod session;
mod support;
