//! `rejoin config`.

use crate::command::{ConfigFile, say};

/// The commands of `rejoin config`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Config {
    /// Say whether the configuration is right.
    Check(ConfigFile),
}

impl Config {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let Self::Check(file) = self;
        let config = file.load(None)?;
        Ok(say(&format!("The configuration is right; it listens on {}.", config.server.listen))?)
    }
}
