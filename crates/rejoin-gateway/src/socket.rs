//! WebSockets: the checks of an upgrade, and the protocol side of a connection.

mod client;
mod keepalive;
mod upgrade;

pub(crate) use client::{Client, Flow, JobListener, JobResult, Jobs, RawAttach, SocketState};
pub(crate) use keepalive::Now;
pub(crate) use upgrade::{Accepted, Endpoint, check, query, user_agent};
