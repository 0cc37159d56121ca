//! `rejoin config`.

use crate::command::{ConfigArgs, print_line};

/// The commands of `rejoin config`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Config {
    /// Check the configuration file and the environment, and print the first error.
    Check(ConfigArgs),
}

impl Config {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let Self::Check(args) = self;
        let config = args.load(None)?;

        let address = config.server.listen;
        Ok(print_line(&format!("The configuration is valid. The server listens on {address}."))?)
    }
}
