//! Tests of the binary through its command line, sockets and signals.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod after_close;
mod api;
mod blocked_clients;
mod browsers;
mod certificate;
mod changes_of_size;
mod configuration;
mod configuration_errors;
mod connection_list;
mod crashes;
mod delivery;
mod descriptors;
mod durable_topics;
mod failures;
mod heartbeat;
mod history;
mod keeper_failures;
mod keepers;
mod limits_page;
mod login;
mod logs;
mod lost_output;
mod memory;
mod metrics;
mod paste;
#[path = "../../../rejoin-adapters/tests/it/postgres.rs"]
mod postgres;
mod program_limits;
mod publish_subscribe;
mod queries;
mod recorded_keeper;
mod revocations;
mod rights;
mod session_end;
mod session_list;
mod sizes;
mod stop;
mod store;
mod support;
mod terminal_output;
mod tickets;
mod unauthenticated;
mod windows;
