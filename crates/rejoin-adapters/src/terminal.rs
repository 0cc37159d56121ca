//! Terminals on PTYs of this process; they end with it.

mod launch;
mod run;

use std::collections::BTreeMap;

use rejoin_core::{BoxFuture, Launch, LiveTerminal, Shutdown, StartError, Terminals};
use tokio::sync::{mpsc, watch};

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
}

impl LocalTerminals {
    /// Terminals whose programs get, of the variables in `env`, the ordinary ones only:
    /// nothing that the server was configured with reaches them.
    #[must_use]
    pub fn new(env: impl IntoIterator<Item = (String, String)>, shutdown: Shutdown) -> Self {
        let env = env.into_iter().filter(|(name, _)| launch::is_ordinary(name)).collect();
        Self { env, shutdown }
    }
}

impl Terminals for LocalTerminals {
    fn start(&self, launch: Launch) -> BoxFuture<'_, Result<LiveTerminal, StartError>> {
        Box::pin(async move {
            let started = launch::spawn(&launch, &self.env)?;
            let (events_tx, events) = mpsc::channel(EVENTS);
            let (controls, controls_rx) = mpsc::channel(CONTROLS);
            let (hangup, hangup_rx) = watch::channel(false);
            let (written_tx, written) = watch::channel(0);
            let orders = run::Orders { controls: controls_rx, hangup: hangup_rx };
            self.shutdown.spawn(run::run(started, events_tx, orders, written_tx));
            Ok(LiveTerminal { events, controls, hangup, written })
        })
    }
}
