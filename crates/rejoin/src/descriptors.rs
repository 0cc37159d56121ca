//! File descriptors: as many as the system allows, shared out before anybody is served.

use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Limits;

/// Descriptors that sockets and terminals leave: files, the listener, the shards' polls, requests
/// of webhooks, and connections that are closing.
const RESERVE: u64 = 256;
/// Descriptors that a terminal takes: two of its PTY, the program's process, one for its signals.
const OF_TERMINAL: u64 = 4;

/// The most that macOS allows whatever it is set up for (`OPEN_MAX`).
const MAX_OF_MACOS: u64 = 10_240;

/// How the descriptors of the process are shared out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    /// Sockets that may be open at one time.
    pub(crate) sockets: usize,
    /// Terminals that there may be.
    pub(crate) terminals: usize,
    /// The soft limit before it was raised; programs in terminals get it back.
    pub(crate) soft_before: Option<u64>,
}

/// Raises the soft limit to the hard one, and shares the descriptors out.
///
/// # Errors
/// If there are too few for the limits of the configuration.
pub(crate) fn raise(limits: &Limits) -> anyhow::Result<Descriptors> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Some systems name no hard limit, and refuse to have no soft one. If both attempts fail, the
    // limit stays as it is, which is looked at below.
    for soft in [maximum, Some(MAX_OF_MACOS)] {
        let is_higher = current.is_some_and(|current| soft.is_none_or(|soft| soft > current));
        if is_higher && setrlimit(Resource::Nofile, Rlimit { current: soft, maximum }).is_ok() {
            break;
        }
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    share_out(limits, allowed).map(|shares| Descriptors { soft_before: current, ..shares })
}

fn share_out(limits: &Limits, allowed: u64) -> anyhow::Result<Descriptors> {
    let connections = limits.max_connections.get().get();
    let handshakes = limits.max_handshakes.get().get();
    // As many WebSockets as pending connections may be unauthenticated.
    let sockets = (connections as u64).saturating_add(2 * handshakes as u64);
    let needed = sockets.saturating_add(RESERVE + OF_TERMINAL);
    if allowed < needed {
        bail!(
            "limits.max_connections ({connections}) and limits.max_handshakes ({handshakes}) need \
             {needed} file descriptors, but the system allows {allowed}: lower them, or raise the \
             hard limit (`ulimit -Hn`, `LimitNOFILE=`)"
        );
    }
    let terminals = (allowed - sockets - RESERVE) / OF_TERMINAL;
    // Connections that are closing do not count among the limits: they may use what terminals
    // leave, and half of the reserve.
    let sockets = allowed - RESERVE / 2;
    let as_count = |count| usize::try_from(count).unwrap_or(usize::MAX);
    Ok(Descriptors {
        sockets: as_count(sockets),
        terminals: as_count(terminals),
        soft_before: None,
    })
}
