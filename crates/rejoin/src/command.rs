//! The commands, and the arguments and output that they share.

mod client;
pub(crate) mod config;
mod credentials;
pub(crate) mod keeper;
pub(crate) mod kill;
pub(crate) mod publish;
pub(crate) mod serve;
pub(crate) mod sessions;
pub(crate) mod subscribe;
pub(crate) mod token;

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
};

use crate::{
    config::{Config, Overrides, load},
    environment::environment,
};

/// The arguments that locate the configuration and the data.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file [default: rejoin.toml, if it exists].
    #[arg(long, value_name = "FILE", env = "REJOIN_CONFIG")]
    config: Option<PathBuf>,
    /// Data directory of the server [default: `server.data_dir` of the configuration].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl ConfigArgs {
    fn load(&self, listen: Option<SocketAddr>) -> anyhow::Result<Config> {
        let overrides = Overrides { listen, data_dir: self.data_dir.clone() };
        load(self.config.as_deref(), environment(), overrides)
    }
}

/// Prints a line to standard output.
///
/// # Errors
/// If the output is closed, such as a pipe whose reader has exited.
fn print_line(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Prints a line to standard error, after the name of the program.
pub(crate) fn print_error(line: &str) {
    // A broken standard error leaves no place for another message.
    let _ = writeln!(io::stderr(), "rejoin: {line}");
}

/// Formats an error and its causes on one line.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            // Some errors already end with the text of their cause.
            text = format!("{text}: {cause}");
        }
    }

    text.lines().collect::<Vec<_>>().join("; ")
}
