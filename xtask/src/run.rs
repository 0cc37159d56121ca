//! `cargo xtask run`: from a fresh clone to a running server.

use xshell::{Shell, cmd};

use crate::pages;
use crate::setup::{self, Need};

/// Installs what is missing, builds, and runs `rejoin serve` with `arguments`.
///
/// # Errors
/// If a tool cannot be installed, the build fails, or the server exits with an error.
pub fn run(sh: &Shell, arguments: &[String]) -> anyhow::Result<()> {
    setup::ensure(sh, &[Need::Rust])?;
    pages::build(sh)?;
    cmd!(sh, "cargo run --release --bin rejoin -- serve {arguments...}").run()?;
    Ok(())
}
