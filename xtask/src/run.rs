//! `cargo xtask run`: from a fresh machine to a running server.

use std::path::Path;

use crate::pages;
use crate::process::Program;
use crate::setup::{self, Need};

/// Sets up, builds, and runs `rejoin serve` with these arguments.
///
/// # Errors
/// When something cannot be set up or built, or the server ends with an error.
pub fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    setup::ensure(root, &[Need::Rust])?;
    pages::set_up_and_build(root)?;
    let mut line = vec!["cargo", "run", "--release", "--bin", "rejoin", "--", "serve"];
    line.extend(arguments.iter().map(String::as_str));
    Program::new(root, &line).interactive().run()
}
