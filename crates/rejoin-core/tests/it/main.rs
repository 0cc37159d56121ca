//! Tests of streams, readers, sessions and the hub.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod access;
mod client;
mod durable;
mod event_handlers;
mod events;
mod history;
mod hub;
mod idempotency;
mod implicit_streams;
mod lifetimes;
mod limits;
mod outbox;
mod output;
mod pacing;
mod presence;
mod registry;
mod restore;
mod resume;
mod retention;
mod revivals;
mod session;
mod session_lists;
mod sizes;
mod slow_readers;
mod support;
mod timed_journal;
mod users;
