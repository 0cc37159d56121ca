//! The data directory, which one server uses at a time, and its store.

use std::{
    fs::{self, DirBuilder, File},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use anyhow::{Context, bail};
use rejoin_adapters::SqlStore;
use rejoin_core::new_id;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::config::Config;

/// File with the name of this server in its store.
pub(crate) const NODE: &str = "node";

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

/// Opens the store of this data directory's sessions.
///
/// # Errors
/// If the configuration is not valid, or the database cannot be used.
pub(crate) async fn open_store(config: &Config) -> anyhow::Result<SqlStore> {
    let data_dir = &config.server.data_dir;
    let location = config.store.location(data_dir)?;
    let node = node(data_dir)?;
    Ok(SqlStore::open(location, &node).await?)
}

/// Returns the name under which the sessions of this directory are stored: servers may share a
/// database.
fn node(data_dir: &Path) -> anyhow::Result<String> {
    let path = data_dir.join(NODE);
    match fs::read_to_string(&path) {
        Ok(node) if !node.trim().is_empty() => return Ok(node.trim().to_owned()),
        Ok(_) => bail!("{} is empty; restore it from a backup, or remove it", path.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    }

    let node = new_id();
    let mut options = File::options();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    let written = file.and_then(|mut file| {
        writeln!(file, "{node}")?;
        file.sync_all()
    });
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(node)
}
