//! The project's commands as a library, so that tests can call the checks.

use std::fmt::Display;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use xshell::Shell;

pub mod api_test;
pub mod bench;
pub mod chaos;
pub mod codegen;
pub mod conformance;
pub mod fuzz;
pub mod pages;
pub mod run;
pub mod screen;
pub mod setup;
pub mod test;
pub mod tidy;

mod background;
mod changes;
mod child;
mod fingerprint;
mod packages;
mod steps;
mod tree;

/// Returns the root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Returns a shell whose commands run at the root of the repository.
///
/// # Errors
/// If the process has no current directory.
pub fn shell() -> anyhow::Result<Shell> {
    let sh = Shell::new()?;
    sh.change_dir(root());
    Ok(sh)
}

/// Prints a line to standard output.
///
/// Ignores errors: `cargo xtask … | head` closes the pipe early.
pub fn print(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
