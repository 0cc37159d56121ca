//! The tools that the commands need: found, or installed where possible.

use xshell::{Shell, cmd};

use crate::print;

mod browser;
mod debian;
mod node;
mod postgres;
mod rust;

/// A tool that a step needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The Rust version that Cargo.toml requires.
    Rust,
    /// rustfmt and clippy.
    RustTools,
    /// Node and npm.
    Node,
    /// The programs of a PostgreSQL server, which tests start.
    Postgres,
    /// A browser, and the full-screen programs that the browser tests open.
    Browser,
}

/// Checks each need in order and installs missing tools where possible.
///
/// # Errors
/// If a tool is missing and cannot be installed. The message names the command that installs it.
pub fn ensure(sh: &Shell, needs: &[Need]) -> anyhow::Result<()> {
    for need in needs {
        match need {
            Need::Rust => rust::ensure_version(sh)?,
            Need::RustTools => rust::ensure_components(sh)?,
            Need::Node => node::ensure(sh)?,
            Need::Postgres => postgres::ensure(sh)?,
            Need::Browser => browser::ensure(sh)?,
        }
    }
    Ok(())
}

/// Runs cargo-deny, after installing it if it is missing.
///
/// `cargo xtask test` does not: compiling cargo-deny takes minutes, so `tidy` applies the same
/// rules. Advisories need the network and are checked by the workflow.
///
/// # Errors
/// If cargo-deny cannot be installed or finds a problem.
pub fn deny(sh: &Shell, checks: &[String]) -> anyhow::Result<()> {
    let version = cmd!(sh, "cargo deny --version").quiet().ignore_stderr();
    if version.read().is_err() {
        print("set-up: installing cargo-deny");
        cmd!(sh, "cargo install --locked cargo-deny").run()?;
    }

    cmd!(sh, "cargo deny check {checks...}").run()?;
    Ok(())
}

/// Returns whether a program of this name is on the search path.
fn is_installed(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

/// Parses major and minor number of a version such as `v20.11.1` or `rustc 1.95.0 (...)`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    // Skips the program's name and a leading `v`.
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let mut parts = text[start..].split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().and_then(|p| p.parse().ok()).unwrap_or(0);
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_parsed_from_the_output_of_programs() {
        assert_eq!(parse_version("v20.11.1\n"), Some((20, 11)));
        assert_eq!(parse_version("rustc 1.95.0 (f2d3ce0bd 2026-03-21)"), Some((1, 95)));
        assert_eq!(parse_version("24"), Some((24, 0)));
        assert_eq!(parse_version("none"), None);
    }

    #[test]
    fn programs_are_found_on_the_search_path() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program"));
    }
}
