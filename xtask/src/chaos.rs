//! `cargo xtask chaos`: crashes of processes under load.

use xshell::{Shell, cmd};

use crate::packages;
use crate::setup::{self, Need};

/// The part that crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// Servers and keepers; compares each byte, key and exit code
    Keeper,
    /// Servers; compares each acknowledged message, and the rows with reality
    Store,
}

impl Target {
    /// Returns the name of the command of `rejoin-bench`.
    fn command(self) -> &'static str {
        match self {
            Self::Keeper => "chaos-keeper",
            Self::Store => "chaos-store",
        }
    }
}

/// Builds the server with optimizations, then crashes it.
///
/// # Errors
/// If the build fails, or a promise is broken.
pub fn run(sh: &Shell, target: Target, arguments: &[String]) -> anyhow::Result<()> {
    if target == Target::Store {
        setup::ensure(sh, &[Need::Postgres])?;
    }
    let arguments = arguments.iter().map(String::as_str);
    packages::run_bench(sh, [target.command()].into_iter().chain(arguments))
}

/// Crashes the binaries of the test build this many times in each scenario and with each store.
///
/// # Errors
/// As [`run`].
pub(crate) fn check(sh: &Shell, kills: u32) -> anyhow::Result<()> {
    let bench = packages::build_for_tests(sh)?.join("debug/rejoin-bench");
    let (keeper, store) = (Target::Keeper.command(), Target::Store.command());
    let kills = kills.to_string();
    cmd!(sh, "{bench} {keeper} --kills {kills}").run()?;
    cmd!(sh, "{bench} {store} --runs {kills}").run()?;
    Ok(())
}
