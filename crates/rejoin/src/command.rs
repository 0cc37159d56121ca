//! The commands, and what they share.

pub(crate) mod config;
mod link;
pub(crate) mod publish;
mod secret;
pub(crate) mod serve;
pub(crate) mod subscribe;
pub(crate) mod token;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use crate::config::{Config, Overrides, load};

/// Where the configuration is.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigFile {
    /// The configuration file [default: rejoin.toml, if it is there].
    #[arg(long, value_name = "FILE", env = "REJOIN_CONFIG")]
    config: Option<PathBuf>,
    /// Where the server keeps its data.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl ConfigFile {
    fn load(&self, listen: Option<std::net::SocketAddr>) -> anyhow::Result<Config> {
        let overrides = Overrides { listen, data_dir: self.data_dir.clone() };
        load(self.config.as_deref(), std::env::vars(), overrides)
    }
}

/// Prints a line; an error means that nobody reads on, which ends a command well.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Prints a line to standard error.
pub(crate) fn complain(line: &str) {
    // With nowhere to complain there is nothing left to do.
    let _ = writeln!(io::stderr(), "rejoin: {line}");
}
