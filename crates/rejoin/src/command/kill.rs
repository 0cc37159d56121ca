//! `rejoin kill`.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, bail};
use rejoin_keeper::Directory;

use crate::{
    command::{ConfigArgs, print_error},
    data_dir,
};

/// Terminals that are ended concurrently.
const CONCURRENT: usize = 16;

/// The arguments of `rejoin kill`.
#[derive(Debug, clap::Args)]
pub(crate) struct Kill {
    #[command(flatten)]
    config: ConfigArgs,
    /// End the programs of all terminals in the data directory.
    #[arg(long, required = true)]
    all: bool,
}

impl Kill {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let root = data_dir::terminals(&self.config.load(None)?.server.data_dir)?;
        let terminals = list(&root).with_context(|| format!("cannot read {}", root.display()))?;

        let mut failed = 0;
        for chunk in terminals.chunks(CONCURRENT) {
            failed += thread::scope(|scope| {
                let stops = chunk.iter().map(|path| scope.spawn(|| stop(path)));
                let stops: Vec<_> = stops.collect();
                stops.into_iter().filter_map(|stop| stop.join().ok()).filter(|ok| !ok).count()
            });
        }
        if failed > 0 {
            bail!("{failed} of {} terminals were not ended", terminals.len());
        }
        Ok(())
    }
}

/// Ends a terminal; returns `false` if that failed.
fn stop(path: &Path) -> bool {
    match Directory::new(path).stop() {
        Ok(()) => true,
        Err(error) => {
            print_error(&format!("cannot end the terminal in {}: {error}", path.display()));
            false
        }
    }
}

fn list(root: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(root) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
