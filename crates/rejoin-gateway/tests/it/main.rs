//! The gateway, seen from its sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod bad_input;
mod embedding;
mod identity;
mod lobby;
mod resume;
mod slow;
mod support;
mod terminal;
mod tls;
mod topics;
mod upgrade;
