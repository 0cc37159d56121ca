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
        load(self.config.as_deref(), environment(), overrides)
    }
}

/// The environment's variables; what is not UTF-8 means nothing to us.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The value of a variable.
pub(crate) fn variable(name: &str) -> Option<String> {
    environment().find(|(known, _)| known == name).map(|(_, value)| value)
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

/// An error and what caused it, on one line; some errors say their cause themselves.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if sentence.is_empty() {
            sentence = cause;
        } else if !sentence.ends_with(&cause) {
            sentence = format!("{sentence}: {cause}");
        }
    }
    sentence.lines().collect::<Vec<_>>().join("; ")
}
