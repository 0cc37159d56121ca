//! Terminals in keepers: processes that outlive the server.

mod connection;
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
use rejoin_keeper::Directory;
use rejoin_protocol::SessionId;
use tokio::sync::Semaphore;

use crate::{program::is_inherited, terminal::TerminalLimits};

/// The quota of a terminal's log, in bytes.
const LOG_BYTES: u64 = 64 * 1024 * 1024;

/// The command that runs a keeper, without the directory.
#[derive(Clone, Debug)]
pub struct KeeperCommand {
    /// The executable.
    pub executable: PathBuf,
    /// The arguments before the directory.
    pub arguments: &'static [&'static str],
}

/// A backend that starts each program in a keeper.
///
/// Each terminal has a directory with the keeper's socket and log, the record of its session and
/// the last screen. A stop or a crash of the server leaves it, and [`recover`](Terminals::recover)
/// finds it again. The close of a session ends its keeper and removes its directory.
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
    /// The directory of the terminals' directories.
    root: PathBuf,
    /// One permit for each terminal that may still start.
    permits: Arc<Semaphore>,
    /// The soft limit of open files of each program; `None` inherits that of the server.
    open_files: Option<u64>,
    /// The directories of this process's terminals.
    held: Mutex<HashSet<PathBuf>>,
}

impl KeeperTerminals {
    /// Creates a backend whose terminals have directories in `root`.
    ///
    /// Programs inherit only well-known variables of `env`, such as `PATH` and `LANG`, so secrets
    /// in the server's environment never reach them.
    #[must_use]
    pub fn new(
        env: impl IntoIterator<Item = (String, String)>,
        root: PathBuf,
        keeper: KeeperCommand,
        limits: TerminalLimits,
        shutdown: Shutdown,
    ) -> Self {
        let TerminalLimits { terminals, open_files } = limits;
        let shared = Shared {
            env: env.into_iter().filter(|(name, _)| is_inherited(name)).collect(),
            shutdown,
            keeper,
            root,
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
        // A task: a caller that gives up drops the terminal, which ends its program.
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
        // `.` and `..` are valid ids.
        let name = if id.starts_with('.') { format!("%{id}") } else { id.to_owned() };
        Directory::new(self.root.join(name))
    }
}
