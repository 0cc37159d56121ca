//! The data directory, which one server uses at a time, and its store.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, bail};
use rejoin_adapters::{SqlStore, StoreLocation};
use rejoin_core::new_id;
use rejoin_keeper::check_private;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::config::Config;

/// Directory in the data directory with a directory per terminal.
const TERMINALS: &str = "terminals";

/// File with the name of this server in its store.
pub(crate) const NODE: &str = "node";
/// The file that the running server locks. It contains the server's process and URL.
const LOCK: &str = "lock";

/// The lock of a data directory, held until it is dropped, at the latest by the end of the
/// process.
#[derive(Debug)]
pub(crate) struct DataDirLock {
    file: File,
}

impl DataDirLock {
    /// Takes the lock, and creates the directory if it is missing.
    ///
    /// Two servers on one directory would take each other's terminals and journal.
    ///
    /// # Errors
    /// If another server holds the lock, or the directory cannot be written to.
    pub(crate) fn take(directory: &Path) -> anyhow::Result<Self> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        created
            .with_context(|| format!("cannot create the data directory {}", directory.display()))?;

        let path = directory.join(LOCK);
        let opened = File::options().create(true).append(true).mode(0o600).open(&path);
        let file = opened.with_context(|| format!("cannot open {}", path.display()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => bail!(
                "another server{} uses {}; stop it, or choose another directory with --data-dir",
                read_owner(&path)
                    .map(|(id, url)| format!(" ({url}, process {id})"))
                    .unwrap_or_default(),
                directory.display()
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }

        // The last server may have been killed before it could remove its address.
        let emptied = file.set_len(0);
        emptied.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file })
    }

    /// Records this process and the URL of its server for commands that look for it.
    ///
    /// # Errors
    /// If the file cannot be written to.
    pub(crate) fn record(&mut self, url: &str) -> io::Result<()> {
        // In one write, so that no reader sees a part.
        self.file.write_all(format!("{} {url}\n", process::id()).as_bytes())
    }
}

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

/// Returns the URL of the server that uses the data directory. If none runs, returns the URL of
/// `server.listen`.
pub(crate) fn server_url(config: &Config) -> String {
    let server = &config.server;
    running_server(&server.data_dir).unwrap_or_else(|| server.url(server.listen))
}

fn running_server(directory: &Path) -> Option<String> {
    let path = directory.join(LOCK);
    let file = File::open(&path).ok()?;
    // A shared lock: two commands at the same time do not take each other for a server.
    let is_running = flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK);
    let (_, url) = read_owner(&path).filter(|_| is_running)?;
    Some(url)
}

fn read_owner(lock: &Path) -> Option<(u32, String)> {
    let text = fs::read_to_string(lock).ok()?;
    let (id, url) = text.trim_end().split_once(' ')?;
    Some((id.parse().ok()?, url.to_owned()))
}

/// Opens the database of a data directory's sessions.
///
/// # Errors
/// If the name of the server cannot be read, or the database cannot be used.
pub(crate) async fn open_database(
    data_dir: &Path,
    location: StoreLocation,
) -> anyhow::Result<SqlStore> {
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
