//! `cargo xtask tidy`: what the compiler does not check.

use std::fmt;
use std::path::Path;

use anyhow::bail;

use crate::say;
use crate::tree::Tree;

mod layers;
mod links;
mod locks;
mod names;
mod protocol;
mod text;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// From the root.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub wrong: String,
    /// What is allowed instead.
    pub allowed: String,
}

impl Finding {
    fn new(path: &str, line: usize, wrong: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, wrong: wrong.into(), allowed: allowed.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, wrong, allowed } = self;
        write!(f, "{path}:{line}: {wrong}; allowed: {allowed}")
    }
}

/// All findings in the repository.
///
/// # Errors
/// When it cannot be read, or cargo cannot describe it.
pub fn findings(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let tree = Tree::read(root)?;
    let packages = layers::packages(root)?;
    Ok([
        layers::check(&packages, &tree),
        names::check(&tree),
        text::check(&tree),
        locks::check(&tree),
        links::check(&tree),
        protocol::check(&tree).into_iter().collect(),
    ]
    .concat())
}

/// Prints the findings.
///
/// # Errors
/// When there is one.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let findings = findings(root)?;
    for finding in &findings {
        say(finding);
    }
    match findings.len() {
        0 => {
            say("tidy: nothing found");
            Ok(())
        }
        1 => bail!("tidy found 1 thing"),
        count => bail!("tidy found {count} things"),
    }
}
