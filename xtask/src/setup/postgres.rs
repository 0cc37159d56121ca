//! The programs of a PostgreSQL server, which tests of the store start.

use xshell::Shell;

use super::{debian, is_installed};

/// Debian keeps the programs of each version in a directory below this one.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Installs PostgreSQL if its programs are missing.
pub(super) fn ensure(sh: &Shell) -> anyhow::Result<()> {
    let mut versions = sh.read_dir(VERSIONS).unwrap_or_default().into_iter();
    if is_installed("initdb") || versions.any(|path| path.join("bin/initdb").is_file()) {
        return Ok(());
    }
    debian::install(sh, &["postgresql"])
}
