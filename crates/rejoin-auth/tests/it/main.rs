//! Tests of tokens, issuers, tickets and revocations through the public interface.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod claims;
mod issuer;
mod revocations;
mod signing;
mod tickets;
mod tokens;
