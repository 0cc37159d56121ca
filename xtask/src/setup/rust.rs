//! The Rust toolchain.

use std::fs;

use anyhow::{Context as _, bail};
use xshell::{Shell, cmd};

use super::{is_installed, parse_version};
use crate::print;

/// Checks that the compiler is at least as new as `rust-version` in Cargo.toml.
pub(super) fn ensure_version(sh: &Shell) -> anyhow::Result<()> {
    let manifest = crate::root().join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).context("cannot read Cargo.toml")?;
    let needed = required_version(&manifest).context("Cargo.toml has no `rust-version`")?;
    let found = cmd!(sh, "rustc --version").quiet().read()?;
    let version =
        parse_version(&found).with_context(|| format!("`rustc --version` printed {found:?}"))?;

    if version < needed {
        bail!(
            "Rust {}.{} or newer is required, found {found}; run `rustup update stable`, \
             or see https://rustup.rs",
            needed.0,
            needed.1
        );
    }
    Ok(())
}

/// Installs rustfmt and clippy if they are missing.
pub(super) fn ensure_components(sh: &Shell) -> anyhow::Result<()> {
    // The search path does not show it: rustup installs a proxy even without the component.
    let is_missing = |subcommand: &str| {
        cmd!(sh, "cargo {subcommand} --version").quiet().ignore_stderr().read().is_err()
    };
    let missing: Vec<&str> = [("fmt", "rustfmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(subcommand, _)| is_missing(subcommand))
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }

    let names = missing.join(" ");
    if !is_installed("rustup") {
        bail!(
            "{names} missing; install the package of your distribution, or see https://rustup.rs"
        );
    }
    print(format_args!("set-up: installing {names}"));
    cmd!(sh, "rustup component add {missing...}").run()?;
    Ok(())
}

fn required_version(manifest: &str) -> Option<(u32, u32)> {
    manifest.lines().find(|line| line.starts_with("rust-version")).and_then(parse_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_required_version_is_read_from_the_manifest() {
        assert_eq!(required_version("[a]\nrust-version = \"1.95\"\n"), Some((1, 95)));
        assert_eq!(required_version("[a]\nversion = \"1.95\"\n"), None);
    }
}
