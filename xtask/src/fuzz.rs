//! `cargo xtask fuzz`: random input through the whole server, and damaged input of its keepers.

use std::io::Read as _;

use anyhow::ensure;
use clap::ValueEnum;
use xshell::{Shell, cmd};

use crate::child::ChildGuard;
use crate::{packages, print};

/// The input that is fuzzed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// The output of terminals; measures memory and the delays of other clients
    Terminal,
    /// Messages between keepers and their server
    KeeperWire,
    /// Logs of keepers
    KeeperLog,
}

impl Target {
    /// Returns the name of the command of `rejoin-bench`.
    fn command(self) -> &'static str {
        match self {
            Self::Terminal => "fuzz-terminal",
            Self::KeeperWire => "fuzz-keeper-wire",
            Self::KeeperLog => "fuzz-keeper-log",
        }
    }
}

/// Builds the server and the fuzzer with optimizations, then runs the fuzzer.
///
/// # Errors
/// If the build fails, or the server exceeds a bound.
pub fn run(sh: &Shell, target: Target, arguments: &[String]) -> anyhow::Result<()> {
    let arguments = arguments.iter().map(String::as_str);
    packages::run_bench(sh, [target.command()].into_iter().chain(arguments))
}

/// Fuzzes each target for `seconds` with the binaries of the test build.
///
/// # Errors
/// As [`run`].
pub(crate) fn check(sh: &Shell, seconds: u32) -> anyhow::Result<()> {
    let fuzzer = packages::build_for_tests(sh)?.join("debug/rejoin-bench");
    let seconds = seconds.to_string();
    // At the same time: each has its own server or needs none.
    let running: Vec<_> = Target::value_variants()
        .iter()
        .map(|target| {
            let command = target.command();
            ChildGuard::start(cmd!(sh, "{fuzzer} {command} --seconds {seconds}"))
        })
        .collect::<Result<_, _>>()?;
    for mut fuzzer in running {
        let mut output = String::new();
        fuzzer.output()?.read_to_string(&mut output)?;
        print(output.trim_end());
        ensure!(fuzzer.wait()?.success(), "the fuzzer reports a failure");
    }
    Ok(())
}
