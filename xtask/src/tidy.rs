//! `cargo xtask tidy`: the rules that the compiler does not check.

use std::fmt;

use anyhow::bail;
use xshell::Shell;

use crate::tree::{Tree, is_below};
use crate::{packages, print};

mod dependencies;
mod language;
mod layers;
mod links;
mod locks;
mod modules;
mod names;
mod order;
mod protocol;
mod report;
mod survey;
mod text;

/// The files and folders on which the rules of language, order, modules and page length fail.
/// `cargo xtask tidy --report` measures all areas.
const ENFORCED: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "bench",
    "client",
    "crates",
    "docs",
    "examples",
    "web",
    "xtask",
];

/// A violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The path from the root.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The violation.
    pub wrong: String,
    /// The accepted alternative.
    pub allowed: String,
}

impl Finding {
    fn new(path: &str, line: usize, wrong: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, wrong: wrong.into(), allowed: allowed.into() }
    }

    fn is_enforced(&self) -> bool {
        ENFORCED.iter().any(|area| is_below(&self.path, area))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, wrong, allowed } = self;
        write!(f, "{path}:{line}: {wrong}; allowed: {allowed}")
    }
}

/// Returns all findings in the repository.
///
/// # Errors
/// If a file cannot be read, or cargo cannot describe the workspace.
pub fn findings(sh: &Shell) -> anyhow::Result<Vec<Finding>> {
    let tree = Tree::read(&crate::root())?;
    let packages = packages::list(sh)?;

    // These rules are applied to one area after the other.
    let staged = [
        language::check(&tree),
        order::check(&tree),
        modules::check(&packages, &tree),
        text::check_pages(&tree),
    ];
    Ok([
        layers::check(&packages, &tree),
        dependencies::check(sh, &tree)?,
        names::check(&tree),
        text::check(&tree),
        locks::check(&tree),
        links::check(&tree),
        protocol::check(&tree).into_iter().collect(),
        staged.concat().into_iter().filter(Finding::is_enforced).collect(),
    ]
    .concat())
}

/// Prints all findings.
///
/// # Errors
/// If there is a finding.
pub fn run(sh: &Shell) -> anyhow::Result<()> {
    let findings = findings(sh)?;
    for finding in &findings {
        print(finding);
    }

    match findings.len() {
        0 => {
            print("tidy: no findings");
            Ok(())
        }
        1 => bail!("tidy: 1 finding"),
        count => bail!("tidy: {count} findings"),
    }
}

/// Prints the measurements of each area.
///
/// # Errors
/// As [`findings`].
pub fn report(sh: &Shell) -> anyhow::Result<()> {
    let tree = Tree::read(&crate::root())?;
    let packages = packages::list(sh)?;
    for line in report::lines(&packages, &tree) {
        print(line);
    }
    Ok(())
}
