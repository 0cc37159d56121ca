//! Real programs on real PTYs.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod end;
mod input;
mod output;
mod postgres;
mod start;
mod store;
mod support;
