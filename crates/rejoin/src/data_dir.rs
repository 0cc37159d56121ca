//! The data directory, which one server uses at a time.

use std::{
    fs::{DirBuilder, File},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use rejoin_keeper::check_private;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// Directory in the data directory with a directory per terminal.
const TERMINALS: &str = "terminals";

/// Returns the directory of the terminals in a data directory, which may be missing.
///
/// # Errors
/// If another user may have placed terminals in it.
pub(crate) fn terminals(path: &Path) -> anyhow::Result<PathBuf> {
    let terminals = path.join(TERMINALS);
    match check_private(&terminals) {
        Ok(()) => Ok(terminals),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(terminals),
        Err(error) => Err(error).with_context(|| {
            format!("the directory of the terminals, {}, cannot be used", terminals.display())
        }),
    }
}

/// Takes the lock of the data directory, and creates the directory if it is missing. The lock is
/// held until the returned file is closed, at the latest by the end of the process.
///
/// Two servers on one directory would take each other's terminals and checkpoint.
///
/// # Errors
/// If another server holds the lock, or the directory cannot be written to.
pub(crate) fn lock(path: &Path) -> anyhow::Result<File> {
    let directory = DirBuilder::new().recursive(true).mode(0o700).create(path);
    directory.with_context(|| format!("cannot create {}", path.display()))?;

    let file = path.join("lock");
    let opened = File::options().create(true).append(true).mode(0o600).open(&file);
    let lock = opened.with_context(|| format!("cannot open {}", file.display()))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => bail!(
            "another server uses {}; stop it, or choose another directory with --data-dir",
            path.display()
        ),
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", file.display())),
    }
}
