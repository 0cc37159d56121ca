//! The gateway, seen from its sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod bad_input;
mod caps;
mod embedding;
mod identity;
mod jwks;
mod pace;
mod people;
mod refresh;
mod resume;
mod revocations;
mod signing;
mod slow;
mod support;
mod terminal;
mod tickets;
mod tokens;
mod topics;
mod upgrade;
