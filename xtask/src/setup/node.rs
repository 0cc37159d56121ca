//! Node and npm.

use anyhow::bail;
use xshell::{Shell, cmd};

use super::{debian, is_installed, parse_version};

/// The oldest Node that supports the client, the pages and their tools.
const REQUIRED_MAJOR: u32 = 20;

/// Installs Node and npm if they are missing or too old.
pub(super) fn ensure(sh: &Shell) -> anyhow::Result<()> {
    let version = cmd!(sh, "node --version").quiet().ignore_stderr();
    let found = version.read().unwrap_or_default();
    if is_new_enough(&found) && is_installed("npm") {
        return Ok(());
    }

    if debian::candidate_version(sh, "nodejs").is_some_and(|version| is_new_enough(&version)) {
        return debian::install(sh, &["nodejs", "npm"]);
    }

    let found = if found.is_empty() { "none" } else { &found };
    bail!(
        "Node {REQUIRED_MAJOR} or newer with npm is required to build the pages, found {found}; \
         install it from https://nodejs.org/en/download or with your package manager"
    );
}

fn is_new_enough(version: &str) -> bool {
    parse_version(version).is_some_and(|(major, _)| major >= REQUIRED_MAJOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_or_missing_node_is_refused() {
        assert!(is_new_enough("v20.20.2\n") && is_new_enough("24.1.0+dfsg-1"));
        assert!(!is_new_enough("v18.19.0") && !is_new_enough(""));
    }
}
