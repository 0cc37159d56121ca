//! The gateway, seen from its sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod alive;
mod api_errors;
mod api_people;
mod api_sessions;
mod bad_input;
mod browsers;
mod caps;
mod description;
mod door;
mod embedding;
mod http;
mod identity;
mod lobby;
mod pace;
mod people;
mod program;
mod refresh;
mod resume;
mod slow;
mod support;
mod terminal;
mod tls;
mod topics;
mod upgrade;
mod webhooks;
