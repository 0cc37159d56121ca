//! The data directory, which one server uses at a time.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    process,
};

use anyhow::{Context, bail};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

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
    /// Two servers on one directory would take each other's terminals and checkpoint.
    ///
    /// # Errors
    /// If another server holds the lock, or the directory cannot be written to.
    pub(crate) fn take(directory: &Path) -> anyhow::Result<Self> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        created.with_context(|| format!("cannot create {}", directory.display()))?;

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

/// Returns the URL of the server that uses a data directory, if one does.
pub(crate) fn running_server(directory: &Path) -> Option<String> {
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
