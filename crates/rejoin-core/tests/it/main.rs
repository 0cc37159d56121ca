//! The promises of streams, readers, sessions and the hub.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod access;
mod events;
mod hub;
mod implicit_streams;
mod keys;
mod lag;
mod limits;
mod listener;
mod lists;
mod metrics;
mod outbox;
mod output;
mod pacing;
mod presence;
mod promise;
mod registry;
mod restore;
mod retention;
mod session;
mod support;
mod users;
