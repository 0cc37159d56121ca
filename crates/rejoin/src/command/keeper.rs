//! `rejoin keeper`, which the server starts for each terminal.

use std::{path::PathBuf, process::ExitCode};

use rejoin_keeper::Directory;

/// The arguments of `rejoin keeper`.
#[derive(Debug, clap::Args)]
pub(crate) struct Keeper {
    /// Directory of the terminal.
    directory: PathBuf,
}

impl Keeper {
    /// Runs until the program has ended. No thread may run yet.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        rejoin_keeper::run(&Directory::new(self.directory))?;
        Ok(ExitCode::SUCCESS)
    }
}
