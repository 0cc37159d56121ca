//! Tests of the crate.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod group;
mod keeper;
mod support;
mod wire;
