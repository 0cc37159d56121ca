//! `cargo xtask fuzz`: random input through the whole server.

use std::path::Path;

use crate::process::Program;

/// What is fuzzed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// The output of terminals, with a stopwatch and a scale
    Terminal,
}

/// Builds the server and the fuzzer with optimizations, then runs it.
///
/// # Errors
/// When something does not build, or a bound is broken.
pub fn run(root: &Path, target: Target, arguments: &[String]) -> anyhow::Result<()> {
    build_and_run(root, &["--release"], target, arguments)
}

/// The same for so many seconds without optimizations, as a step of the test.
///
/// # Errors
/// As [`run`].
pub fn check(root: &Path, seconds: u32) -> anyhow::Result<()> {
    let arguments = ["--seconds".to_owned(), seconds.to_string()];
    build_and_run(root, &[], Target::Terminal, &arguments)
}

fn build_and_run(
    root: &Path,
    profile: &[&str],
    target: Target,
    arguments: &[String],
) -> anyhow::Result<()> {
    let build = ["cargo", "build", "--package", "rejoin", "--package", "rejoin-bench"];
    Program::new(root, &[&build[..], profile].concat()).run()?;
    let command = match target {
        Target::Terminal => "fuzz-terminal",
    };
    let line = ["cargo", "run", "--quiet", "--package", "rejoin-bench"];
    let mut line = [&line[..], profile, &["--", command]].concat();
    line.extend(arguments.iter().map(String::as_str));
    Program::new(root, &line).run()
}
