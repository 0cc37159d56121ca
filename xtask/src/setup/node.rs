//! Node and npm.

use std::path::Path;

use anyhow::bail;

use super::{debian, numbers};
use crate::process::{Program, is_installed};

/// The oldest Node whose features the client, the pages and their tools use.
const NEEDED_MAJOR: u32 = 20;

/// Node is new enough and npm is there.
pub(super) fn ensure(root: &Path) -> anyhow::Result<()> {
    let found = Program::new(root, &["node", "--version"]).output().unwrap_or_default();
    if is_new_enough(&found) && is_installed("npm") {
        return Ok(());
    }
    if debian::offers(root, "nodejs").is_some_and(|version| is_new_enough(&version)) {
        debian::install(root, &["nodejs", "npm"])?;
        return Ok(());
    }
    let found = if found.is_empty() { "none was found" } else { found.trim() };
    bail!(
        "Node {NEEDED_MAJOR} or newer with npm is needed to build the pages ({found}); \
         install it from https://nodejs.org/en/download or with your package manager"
    );
}

fn is_new_enough(version: &str) -> bool {
    numbers(version).is_some_and(|(major, _)| major >= NEEDED_MAJOR)
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
