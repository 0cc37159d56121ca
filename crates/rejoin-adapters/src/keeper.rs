//! Terminals in keepers: processes that outlive the server.

mod connection;
mod disk;
mod files;
mod input;
mod recovery;
mod run;
mod start;

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::Arc,
};

use parking_lot::Mutex;
use rejoin_core::{BoxFuture, Launch, LiveTerminal, Recovery, Shutdown, StartError, Terminals};
use rejoin_keeper::{Directory, LimitedGroups};
use rejoin_protocol::SessionId;
use tokio::sync::Semaphore;

use self::disk::DiskSpace;
use crate::{program::is_inherited, terminal::TerminalLimits};

/// The command that runs a keeper, without the directory, and the limits of programs.
#[derive(Clone, Debug)]
pub struct KeeperCommand {
    /// The executable.
    pub executable: PathBuf,
    /// The arguments before the directory.
    pub arguments: &'static [&'static str],
    /// The control groups of the programs. `None` means no limits.
    pub groups: Option<LimitedGroups>,
}

/// The directory of the terminals, and the bounds on its size, in bytes.
#[derive(Clone, Debug)]
pub struct KeeperStorage {
    /// The directory, which contains a directory for each terminal.
    pub root: PathBuf,
    /// The quota of each terminal's log, at least 1 MiB. Above it, the oldest output is dropped.
    pub log_bytes: u64,
    /// The maximum total size of the logs and kept screens of one user's terminals.
    pub max_bytes_per_user: u64,
    /// The maximum total size of those of all terminals.
    pub max_bytes: u64,
}

/// A backend that starts each program in a keeper.
///
/// Each terminal has a directory with the keeper's socket and log, the record of its session and
/// the last screen. It survives a stop or a crash of the server, and
/// [`recover`](Terminals::recover) finds it again. Closing a session ends its keeper and removes
/// its directory.
#[derive(Debug)]
pub struct KeeperTerminals {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The base environment of each program.
    env: BTreeMap<String, String>,
    shutdown: Shutdown,
    keeper: KeeperCommand,
    /// The directory that contains the terminals' directories.
    root: PathBuf,
    /// The quota of a terminal's log, in bytes.
    log_bytes: u64,
    space: Arc<DiskSpace>,
    /// One permit for each terminal that can still be started.
    permits: Arc<Semaphore>,
    /// Each program's soft limit on open files. `None` inherits that of the server.
    open_files: Option<u64>,
    /// The directories of this process's terminals.
    held: Mutex<HashSet<PathBuf>>,
}

impl KeeperTerminals {
    /// Creates a backend whose terminals have directories in `storage.root`.
    ///
    /// Programs inherit only well-known variables of `env`, such as `PATH` and `LANG`, so that
    /// secrets in the server's environment never reach them.
    #[must_use]
    pub fn new(
        env: impl IntoIterator<Item = (String, String)>,
        storage: KeeperStorage,
        keeper: KeeperCommand,
        limits: TerminalLimits,
        shutdown: Shutdown,
    ) -> Self {
        let TerminalLimits { terminals, open_files } = limits;
        let shared = Shared {
            env: env.into_iter().filter(|(name, _)| is_inherited(name)).collect(),
            shutdown,
            keeper,
            space: DiskSpace::new(storage.max_bytes_per_user, storage.max_bytes),
            log_bytes: storage.log_bytes,
            root: storage.root,
            permits: Arc::new(Semaphore::new(terminals.min(Semaphore::MAX_PERMITS))),
            open_files,
            held: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Terminals for KeeperTerminals {
    fn start(&self, launch: Launch) -> BoxFuture<'_, Result<LiveTerminal, StartError>> {
        let shared = Arc::clone(&self.shared);
        // Runs as a task: if the caller gives up, the terminal is dropped, which ends its program.
        let start = self.shared.shutdown.spawn(async move { start::start(shared, launch).await });
        Box::pin(async move {
            let failed = |_| Err(StartError("the start of its keeper failed".to_owned()));
            start.await.unwrap_or_else(failed)
        })
    }

    fn recover(&self) -> BoxFuture<'_, Recovery> {
        Box::pin(recovery::recover(Arc::clone(&self.shared)))
    }
}

impl Shared {
    fn directory(&self, session: &SessionId) -> Directory {
        let id = session.as_str();
        // `.` and `..` are valid ids but not usable as names of directories.
        let name = if id.starts_with('.') { format!("%{id}") } else { id.to_owned() };
        Directory::new(self.root.join(name))
    }
}
