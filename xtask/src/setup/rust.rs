//! The Rust toolchain.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};

use super::numbers;
use crate::process::{Program, is_installed};
use crate::say;

/// The compiler is at least as new as `rust-version` in Cargo.toml.
pub(super) fn ensure_version(root: &Path) -> anyhow::Result<()> {
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("cannot read Cargo.toml")?;
    let needed = needed_version(&manifest).context("Cargo.toml has no `rust-version`")?;
    let found = Program::new(root, &["rustc", "--version"]).output()?;
    let version = numbers(&found).with_context(|| format!("`rustc --version` says {found:?}"))?;
    if version < needed {
        bail!(
            "Rust {}.{} or newer is needed, this is {}; run `rustup update stable`, or see https://rustup.rs",
            needed.0,
            needed.1,
            found.trim()
        );
    }
    Ok(())
}

/// rustfmt and clippy are there.
pub(super) fn ensure_components(root: &Path) -> anyhow::Result<()> {
    let missing: Vec<&str> = [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")]
        .into_iter()
        .filter(|(program, _)| {
            let asked = [program.trim_start_matches("cargo-"), "--version"];
            Program::new(root, &[&["cargo"], &asked[..]].concat()).output().is_err()
        })
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !is_installed("rustup") {
        bail!(
            "{names} missing; install the package of your distribution, or use https://rustup.rs"
        );
    }
    say(format_args!("set-up: {names} missing, installing"));
    Program::new(root, &[&["rustup", "component", "add"], &missing[..]].concat()).run()
}

fn needed_version(manifest: &str) -> Option<(u32, u32)> {
    manifest.lines().find(|line| line.starts_with("rust-version")).and_then(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_needed_version_is_that_of_the_manifest() {
        assert_eq!(needed_version("[a]\nrust-version = \"1.95\"\n"), Some((1, 95)));
        assert_eq!(needed_version("[a]\nversion = \"1.95\"\n"), None);
    }
}
