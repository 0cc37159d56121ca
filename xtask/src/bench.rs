//! `cargo xtask bench`: the benchmarks, built with optimizations.

use xshell::Shell;

use crate::packages;

/// Builds the server and the benchmarks, then runs one benchmark.
///
/// # Errors
/// If the build fails, or a benchmark finds wrong deliveries.
pub fn run(sh: &Shell, arguments: &[String]) -> anyhow::Result<()> {
    packages::run_bench(sh, arguments.iter().map(String::as_str))
}
