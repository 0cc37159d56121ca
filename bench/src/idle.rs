//! `bench idle`: memory and file descriptors of connections that do nothing.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::clock;
use crate::machine;
use crate::report::{as_float, mebibytes, say};
use crate::server::{Server, Users};
use crate::tls::Identity;

/// Targets for the memory of one connection, in bytes.
const TARGET_BYTES: u32 = 2_500;
const TARGET_TLS_BYTES: u32 = 10_000;
/// Time for the server to put away what connecting took.
const SETTLE: Duration = Duration::from_secs(3);

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections to hold
    #[arg(long, default_value_t = 9000)]
    connections: usize,
    /// Each subscribes to a topic as well
    #[arg(long)]
    subscribed: bool,
    /// Whose connections they are
    #[arg(long, value_enum, default_value_t = Users::One)]
    users: Users,
    /// The server speaks TLS
    #[arg(long)]
    tls: bool,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let count = options.connections;
    machine::allow_open_files(count as u64 + 200)?;
    let identity = options.tls.then(Identity::generate).transpose()?;
    let server = Server::rejoin_over(identity.as_ref())?;
    clock::pause(SETTLE);
    let (before, files_before) = (server.memory()?, server.open_files()?);

    let tokens = server.tokens(options.users, count)?;
    let endpoint = server.endpoint("/ws");

    let started = Instant::now();
    let mut held = Vec::with_capacity(count);
    for (index, token) in tokens.iter().enumerate() {
        let mut connection = server.connect_as(token, &endpoint, index)?;
        if options.subscribed {
            connection.ask("subscribe", &json!({"topic": "bench"}))?;
        }
        held.push(connection);
    }
    let took = started.elapsed().as_secs_f64();
    clock::pause(SETTLE);
    let (after, files_after) = (server.memory()?, server.open_files()?);
    drop(held);
    clock::pause(SETTLE);
    let left = server.memory()?;

    let connections = as_float(count as u64);
    let each = as_float(after.resident.saturating_sub(before.resident)) / connections;
    let kind = if options.subscribed { "subscribed" } else { "authenticated" };
    let users = match options.users {
        Users::One => "one user's",
        Users::Distinct => "each of a user of its own",
    };
    let (over, target) =
        if options.tls { (" over TLS", TARGET_TLS_BYTES) } else { ("", TARGET_BYTES) };
    say(format_args!(
        "{connections} connections{over}, {kind}, {users}, one after the other: {:.0} a second",
        connections / took
    ));
    say(format_args!(
        "server memory: {} before, {} with them, {} at most, {} after they left",
        mebibytes(before.resident),
        mebibytes(after.resident),
        mebibytes(left.peak),
        mebibytes(left.resident),
    ));
    say(format_args!("{each:.0} bytes per idle connection, target {target}"));
    let files = as_float(files_after.saturating_sub(files_before)) / connections;
    say(format_args!("{files:.2} file descriptors per idle connection"));
    Ok(())
}
