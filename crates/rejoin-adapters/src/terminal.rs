//! Terminals on PTYs of this process; they end with it.

mod launch;
mod run;

use std::{collections::BTreeMap, sync::Arc};

use rejoin_core::{BoxFuture, Launch, LiveTerminal, Shutdown, StartError, Terminals};
use tokio::sync::{Semaphore, mpsc, watch};

/// Output that waits for the owner, in reads of at most 64 KiB.
const EVENTS: usize = 16;
/// Controls that wait for the PTY's writer, which takes them at once.
const CONTROLS: usize = 256;

/// Starts programs on PTYs of this process.
#[derive(Debug)]
pub struct LocalTerminals {
    /// What each program's environment begins with.
    env: BTreeMap<String, String>,
    shutdown: Shutdown,
    /// One for each terminal that may still be started.
    permits: Arc<Semaphore>,
    /// The soft limit of open files of each program.
    open_files: Option<u64>,
}

/// How much terminals may take of the process.
#[derive(Clone, Copy, Debug)]
pub struct TerminalLimits {
    /// Terminals at one time; each takes four file descriptors.
    pub terminals: usize,
    /// The soft limit of open files that each program gets; `None`: that of this process.
    pub open_files: Option<u64>,
}

impl LocalTerminals {
    /// Terminals whose programs get, of the variables in `env`, the ordinary ones only:
    /// nothing that the server was configured with reaches them.
    #[must_use]
    pub fn new(env: impl IntoIterator<Item = (String, String)>, shutdown: Shutdown) -> Self {
        let env = env.into_iter().filter(|(name, _)| launch::is_ordinary(name)).collect();
        let permits = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { env, shutdown, permits, open_files: None }
    }

    /// The same, with limits.
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
                let sentence = "the server has no file descriptors for another terminal";
                StartError(sentence.to_owned())
            })?;
            let started = launch::spawn(&launch, &self.env)?;
            if let Some(open_files) = self.open_files {
                started.limit_open_files(open_files);
            }
            let (events_tx, events) = mpsc::channel(EVENTS);
            let (controls, controls_rx) = mpsc::channel(CONTROLS);
            let (hangup, hangup_rx) = watch::channel(false);
            let (written_tx, written) = watch::channel(0);
            let orders = run::Orders { controls: controls_rx, hangup: hangup_rx };
            let running = run::run(started, events_tx, orders, written_tx);
            self.shutdown.spawn(async move {
                running.await;
                drop(permit);
            });
            Ok(LiveTerminal { events, controls, hangup, written })
        })
    }
}
