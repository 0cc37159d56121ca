//! What has to be on the machine, checked and, where it may be, installed.

use std::path::Path;

use anyhow::bail;

use crate::process::Program;
use crate::say;

mod debian;
mod node;
mod rust;

/// Something that a step cannot run without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The Rust version that Cargo.toml names.
    Rust,
    /// rustfmt and clippy.
    RustTools,
    /// cargo-deny.
    CargoDeny,
    /// Node and npm.
    Node,
    /// Chromium, and the full-screen programs that the browser tests open.
    Browser,
}

/// Makes sure of each need, in their order.
///
/// # Errors
/// When something is missing and cannot be installed from here; says what to install.
pub fn ensure(root: &Path, needs: &[Need]) -> anyhow::Result<()> {
    for need in needs {
        match need {
            Need::Rust => rust::ensure_version(root)?,
            Need::RustTools => rust::ensure_components(root)?,
            Need::CargoDeny => ensure_cargo_deny(root)?,
            Need::Node => node::ensure(root)?,
            Need::Browser => debian::ensure(root, &["chromium", "vim", "less"])?,
        }
    }
    Ok(())
}

fn ensure_cargo_deny(root: &Path) -> anyhow::Result<()> {
    if Program::new(root, &["cargo", "deny", "--version"]).output().is_ok() {
        return Ok(());
    }
    say("set-up: cargo-deny is missing, installing it");
    if Program::new(root, &["cargo", "install", "--locked", "cargo-deny"]).run().is_err() {
        bail!("cargo-deny is missing; install it with `cargo install --locked cargo-deny`");
    }
    Ok(())
}

/// The numbers of a version such as `v20.11.1` or `rustc 1.95.0 (...)`.
fn numbers(text: &str) -> Option<(u32, u32)> {
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
    fn versions_are_read_as_programs_print_them() {
        assert_eq!(numbers("v20.11.1\n"), Some((20, 11)));
        assert_eq!(numbers("rustc 1.95.0 (f2d3ce0bd 2026-03-21)"), Some((1, 95)));
        assert_eq!(numbers("24"), Some((24, 0)));
        assert_eq!(numbers("none"), None);
    }
}
