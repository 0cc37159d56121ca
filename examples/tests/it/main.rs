//! Tests that run the examples and connect to them.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod event_log;
mod guestbook;
