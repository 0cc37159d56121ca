//! `cargo xtask bench`: the benchmarks, built with optimizations.

use xshell::{Shell, cmd};

/// Builds the server and the benchmarks, then runs one benchmark.
///
/// # Errors
/// If the build fails, or a benchmark finds wrong deliveries.
pub fn run(sh: &Shell, arguments: &[String]) -> anyhow::Result<()> {
    // The benchmarks start the server's binary, which `cargo run` alone would not build.
    cmd!(sh, "cargo build --release -p rejoin -p rejoin-bench").run()?;
    cmd!(sh, "cargo run --quiet --release -p rejoin-bench -- {arguments...}").run()?;
    Ok(())
}
