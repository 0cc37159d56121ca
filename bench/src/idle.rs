//! `bench idle`: memory and file descriptors of connections that do nothing.

use std::time::Duration;

use crate::client_pool::ClientPool;
use crate::clock;
use crate::machine;
use crate::report::{as_float, mebibytes, print_line};
use crate::server::{Server, Users};
use crate::tls::Identity;

/// The highest acceptable memory of one connection, in bytes.
const TARGET_BYTES: u32 = 2_500;
const TARGET_TLS_BYTES: u32 = 10_000;
/// The time for the server to release temporary memory.
const RELEASE: Duration = Duration::from_secs(3);

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections to hold
    #[arg(long, default_value_t = 9000)]
    connections: usize,
    /// Subscribe each connection to a topic
    #[arg(long)]
    subscribed: bool,
    /// The users of the connections
    #[arg(long, value_enum, default_value_t = Users::One)]
    users: Users,
    /// Use TLS
    #[arg(long)]
    tls: bool,
}

/// Runs the benchmark and prints its figures.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(options.connections as u64 + 200)?;
    let identity = options.tls.then(Identity::generate).transpose()?;
    let server = Server::rejoin_over(identity.as_ref())?;
    clock::pause(RELEASE);
    // The first figures exclude the allocations of the start.
    let (before, files_before) = (server.memory()?, server.open_files()?);
    let tokens = server.tokens(options.users, options.connections)?;
    let endpoint = match options.subscribed {
        true => server.subscriber(0),
        false => server.endpoint("/ws"),
    };
    let endpoints: Vec<_> = tokens.iter().map(|token| endpoint.clone().with_token(token)).collect();
    let mut held = ClientPool::new()?;
    held.connect_all(&endpoints)?;
    clock::pause(RELEASE);
    let (after, files_after) = (server.memory()?, server.open_files()?);
    drop(held);
    clock::pause(RELEASE);
    let closed = server.memory()?;

    let count = as_float(options.connections as u64);
    let kind = if options.subscribed { "subscribed" } else { "authenticated" };
    let users = match options.users {
        Users::One => "of one user",
        Users::Distinct => "of one user each",
    };
    let (over, target) =
        if options.tls { (" over TLS", TARGET_TLS_BYTES) } else { ("", TARGET_BYTES) };
    print_line(format_args!("{count} {kind} connections{over} {users}"));
    print_line(format_args!(
        "server memory: {} before, {} while open, {} peak, {} after they closed",
        mebibytes(before.resident),
        mebibytes(after.resident),
        mebibytes(closed.peak),
        mebibytes(closed.resident),
    ));
    let bytes = as_float(after.resident.saturating_sub(before.resident)) / count;
    print_line(format_args!("{bytes:.0} bytes per idle connection, target {target}"));
    let files = as_float(files_after.saturating_sub(files_before)) / count;
    print_line(format_args!("{files:.2} file descriptors per idle connection"));
    Ok(())
}
