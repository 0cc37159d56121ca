//! The examples, run and used.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod doorkeeper;
mod guestbook;
