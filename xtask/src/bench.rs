//! `cargo xtask bench`: the benchmarks, built with optimizations.

use std::path::Path;

use crate::process::Program;

/// Builds the server and the benchmarks, then measures.
///
/// # Errors
/// When something does not build, or a benchmark finds wrong deliveries.
pub fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let build = ["cargo", "build", "--release", "--package", "rejoin", "--package", "rejoin-bench"];
    Program::new(root, &build).run()?;
    let mut line = vec!["cargo", "run", "--quiet", "--release", "--package", "rejoin-bench", "--"];
    line.extend(arguments.iter().map(String::as_str));
    Program::new(root, &line).run()
}
