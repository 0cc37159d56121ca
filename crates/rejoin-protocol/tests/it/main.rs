//! Wire format, validation and error messages.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod binary;
mod client;
mod codes;
mod names;
mod server;
