//! The gateway, seen from its sockets.

mod bad_input;
mod embedding;
mod identity;
mod resume;
mod slow;
mod support;
mod terminal;
mod topics;
mod upgrade;
