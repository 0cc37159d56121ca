//! The build of the web pages and of the client library that they use.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use xshell::{Shell, cmd};

use crate::print;
use crate::setup::{self, Need};
use crate::tree::Tree;

/// The files that determine the installed npm packages.
const PACKAGE_FILES: [&str; 4] =
    ["package.json", "package-lock.json", "client/package.json", "web/package.json"];
/// The files and folders that determine the built pages.
const SOURCES: [&str; 4] = ["client", "web", "package.json", "package-lock.json"];
/// The page that the server embeds; it exists after each successful build.
const INDEX: &str = "web/dist/index.html";

/// Installs Node if needed and builds the pages, unless their sources are unchanged.
///
/// # Errors
/// If Node or a package cannot be installed, or the build fails.
pub fn build(sh: &Shell) -> anyhow::Result<()> {
    let tree = Tree::read(&crate::root())?;
    // A hash, not time stamps: a checkout of another branch and back changes nothing.
    let sources = tree.fingerprint(&SOURCES);
    let stamp = Stamp::new("pages");
    if stamp.is(&sources) && crate::root().join(INDEX).is_file() {
        print("pages: unchanged");
        return Ok(());
    }

    setup::ensure(sh, &[Need::Node])?;
    install(sh, &tree)?;

    print("pages: building");
    // An interrupted build must not look complete.
    stamp.remove();
    cmd!(sh, "npm run build").run()?;
    stamp.set(&sources)
}

/// Installs the npm packages, unless the lock file is unchanged since the last installation.
fn install(sh: &Shell, tree: &Tree) -> anyhow::Result<()> {
    // `npm ci` deletes and reinstalls everything, even if nothing changed.
    let packages = tree.fingerprint(&PACKAGE_FILES);
    let stamp = Stamp::new("packages");
    if stamp.is(&packages) {
        return Ok(());
    }

    print("pages: installing the npm packages");
    cmd!(sh, "npm ci --no-audit --no-fund").run()?;
    stamp.set(&packages)
}

/// A file in `node_modules` that records the fingerprint of the last build.
///
/// It is deleted together with the packages, so a new installation also builds again.
struct Stamp(PathBuf);

impl Stamp {
    fn new(name: &str) -> Self {
        Self(crate::root().join("node_modules").join(format!(".xtask-{name}")))
    }

    fn is(&self, value: &str) -> bool {
        fs::read_to_string(&self.0).is_ok_and(|found| found == value)
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.0);
    }

    fn set(&self, value: &str) -> anyhow::Result<()> {
        fs::write(&self.0, value).with_context(|| format!("cannot write {}", self.0.display()))
    }
}
