//! The project's own commands, as a library so that its tests can call the checks.

use std::fmt::Display;
use std::io::Write as _;
use std::path::{Path, PathBuf};

pub mod api_test;
pub mod bench;
pub mod codegen;
pub mod conformance;
pub mod fingerprint;
pub mod fuzz;
pub mod pages;
pub mod process;
pub mod run;
pub mod setup;
pub mod steps;
pub mod tidy;
pub mod tree;

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Prints one line; a reader that has gone away is no error.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
