//! The web pages and the client library that they are made of.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::process::Program;
use crate::say;
use crate::setup::{self, Need};
use crate::tree::Tree;

/// What the packages to install depend on.
const PACKAGES: [&str; 4] =
    ["package.json", "package-lock.json", "client/package.json", "web/package.json"];
/// What the built pages depend on.
const SOURCES: [&str; 4] = ["client", "web", "package.json", "package-lock.json"];
/// The file that the server embeds first of all.
const BUILT: &str = "web/dist/index.html";

/// Installs what the build needs, then builds, unless nothing changed.
///
/// # Errors
/// When something is missing, or a package cannot be installed or built.
pub fn set_up_and_build(root: &Path) -> anyhow::Result<()> {
    let tree = Tree::read(root)?;
    if tree.text("package.json").is_none() {
        say("pages: there is no package.json, so there is nothing to build");
        return Ok(());
    }
    let sources = tree.fingerprint(&SOURCES);
    let stamp = Stamp::new(root, "pages");
    if stamp.is(&sources) && root.join(BUILT).is_file() {
        say("pages: unchanged");
        return Ok(());
    }
    setup::ensure(root, &[Need::Node])?;
    install(root, &tree)?;
    say("pages: building");
    stamp.remove();
    Program::new(root, &["npm", "run", "build"]).run()?;
    stamp.set(&sources)
}

/// Installs the npm packages, unless the lock file is the one they came from.
///
/// # Errors
/// When `npm ci` fails.
pub fn install(root: &Path, tree: &Tree) -> anyhow::Result<()> {
    let packages = tree.fingerprint(&PACKAGES);
    let stamp = Stamp::new(root, "packages");
    if stamp.is(&packages) {
        return Ok(());
    }
    say("pages: installing the npm packages");
    Program::new(root, &["npm", "ci", "--no-audit", "--no-fund"]).run()?;
    stamp.set(&packages)
}

/// A note beside the packages of what was done with them; gone when they go.
struct Stamp(PathBuf);

impl Stamp {
    fn new(root: &Path, name: &str) -> Self {
        Self(root.join("node_modules").join(format!(".xtask-{name}")))
    }

    fn is(&self, value: &str) -> bool {
        fs::read_to_string(&self.0).is_ok_and(|found| found == value)
    }

    /// A build that is interrupted must not look done.
    fn remove(&self) {
        let _ = fs::remove_file(&self.0);
    }

    fn set(&self, value: &str) -> anyhow::Result<()> {
        fs::write(&self.0, value).with_context(|| format!("cannot write {}", self.0.display()))
    }
}
