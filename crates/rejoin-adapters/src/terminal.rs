//! Terminals on PTYs that this process owns; they end with the process.

mod launch;
mod run;

use std::{collections::BTreeMap, sync::Arc};

use rejoin_core::{BoxFuture, Launch, LiveTerminal, Shutdown, StartError, Terminals};
use tokio::sync::Semaphore;

use crate::program::is_inherited;

/// The capacity of the output queue, in reads of at most 64 KiB.
///
/// A full queue pauses the program.
const EVENTS: usize = 16;
/// The capacity of the control queue: more than the 4096 inputs that a session sends ahead. The
/// write loop never lets controls wait for the program, and the queue allocates as it fills.
const CONTROLS: usize = 4096 + 256;

/// A backend that starts programs on PTYs of this process.
#[derive(Debug)]
pub struct LocalTerminals {
    /// The base environment of each program.
    env: BTreeMap<String, String>,
    shutdown: Shutdown,
    /// One permit for each terminal that can still be started.
    permits: Arc<Semaphore>,
    /// The soft limit of open files of each program; `None` inherits that of this process.
    open_files: Option<u64>,
}

/// The resource limits of terminals.
#[derive(Clone, Copy, Debug)]
pub struct TerminalLimits {
    /// The maximum number of concurrent terminals. Each uses four file descriptors of this process.
    pub terminals: usize,
    /// The soft limit of open files of each program; `None` inherits that of this process.
    pub open_files: Option<u64>,
}

impl LocalTerminals {
    /// Creates a backend without limits.
    ///
    /// Programs inherit only well-known variables of `env`, such as `PATH` and `LANG`, so secrets
    /// in the server's environment never reach them.
    #[must_use]
    pub fn new(env: impl IntoIterator<Item = (String, String)>, shutdown: Shutdown) -> Self {
        let env = env.into_iter().filter(|(name, _)| is_inherited(name)).collect();
        let permits = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { env, shutdown, permits, open_files: None }
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(self, TerminalLimits { terminals, open_files }: TerminalLimits) -> Self {
        let permits = Semaphore::new(terminals.min(Semaphore::MAX_PERMITS));
        Self { permits: Arc::new(permits), open_files, ..self }
    }
}

impl Terminals for LocalTerminals {
    fn start(&self, launch: Launch) -> BoxFuture<'_, Result<LiveTerminal, StartError>> {
        Box::pin(async move {
            let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| {
                let sentence = "the server has no free file descriptors for another terminal; \
                                end a session and try again";
                StartError(sentence.to_owned())
            })?;

            let program = launch::spawn(&launch, &self.env)?;
            if let Some(open_files) = self.open_files {
                program.limit_open_files(open_files);
            }

            let (live, ends) = LiveTerminal::new(EVENTS, CONTROLS);
            let running = run::run(program, ends);
            self.shutdown.spawn(async move {
                running.await;
                drop(permit);
            });
            Ok(live)
        })
    }
}
