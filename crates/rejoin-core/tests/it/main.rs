//! The promises of streams, readers, sessions and the hub.

mod access;
mod hub;
mod outbox;
mod pacing;
mod promise;
mod retention;
mod session;
mod support;
