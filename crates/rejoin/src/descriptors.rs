//! The budget of file descriptors: raises the limit and divides it between sockets and terminals.

use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::LimitsConfig;

/// Descriptors for everything except sockets and terminals: files, the listener, the poll of each
/// shard, webhook requests, and half of them for closing connections.
const RESERVE: u64 = 256;
/// Descriptors per terminal: the connection to its keeper, and for short times the start of the
/// keeper's process and files of the terminal's directory.
const PER_TERMINAL: u64 = 4;
/// The highest limit that macOS accepts, even if the hard limit is higher (`OPEN_MAX`).
const MACOS_OPEN_MAX: u64 = 10_240;

/// The file descriptors of the process, divided by use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DescriptorBudget {
    /// Sockets that may be open at one time.
    pub(crate) sockets: usize,
    /// Terminals that may run at one time.
    pub(crate) terminals: usize,
    /// The soft limit before it was raised. Programs in terminals get it back: programs that use
    /// `select` break above 1,024.
    pub(crate) soft_before: Option<u64>,
}

/// Raises the soft limit to the hard limit, and divides the descriptors.
///
/// # Errors
/// If the limit is too low for the configured limits.
pub(crate) fn raise_limit(limits: &LimitsConfig) -> anyhow::Result<DescriptorBudget> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // macOS reports no hard limit but refuses an unlimited soft limit, so its maximum is tried
    // next. If both attempts fail, the limit stays, and `divide` decides whether it is enough.
    for soft in [maximum, Some(MACOS_OPEN_MAX)] {
        let is_higher = current.is_some_and(|current| soft.is_none_or(|soft| soft > current));
        if is_higher && setrlimit(Resource::Nofile, Rlimit { current: soft, maximum }).is_ok() {
            break;
        }
    }

    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    divide(limits, allowed, current)
}

fn divide(
    limits: &LimitsConfig,
    allowed: u64,
    soft_before: Option<u64>,
) -> anyhow::Result<DescriptorBudget> {
    let connections = limits.max_connections.get().get();
    let handshakes = limits.max_handshakes.get().get();
    // Twice: `max_handshakes` bounds the pending connections, and as many WebSockets again may be
    // unauthenticated.
    let sockets = (connections as u64).saturating_add(2 * handshakes as u64);
    let needed = sockets.saturating_add(RESERVE + PER_TERMINAL);
    if allowed < needed {
        bail!(
            "limits.max_connections ({connections}) and limits.max_handshakes ({handshakes}) need \
             {needed} file descriptors, but the system allows {allowed}: lower them, or raise the \
             hard limit (`ulimit -Hn`, `LimitNOFILE=`)"
        );
    }

    let terminals = (allowed - sockets - RESERVE) / PER_TERMINAL;
    // Closing connections do not count against the limits. They may use the descriptors that
    // terminals leave free, and half of the reserve.
    let sockets = allowed - RESERVE / 2;
    let to_usize = |count| usize::try_from(count).unwrap_or(usize::MAX);
    Ok(DescriptorBudget { sockets: to_usize(sockets), terminals: to_usize(terminals), soft_before })
}
