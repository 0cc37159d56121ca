//! Files of JSON that hold the newest version of a table and survive a power cut.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of the format that this server writes and reads.
const FORMAT: u32 = 1;

/// A file that holds the newest version of a table.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    /// The version of the table on disk. Held while the file is written, on a thread that may
    /// block: a concurrent writer waits, and then often finds its version written.
    written: Mutex<u64>,
}

/// The reason why a file cannot be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The operating system reports an error.
    Io(io::Error),
    /// The content is not what this server writes.
    Damaged(String),
}

#[derive(Deserialize)]
struct Header {
    version: u32,
}

#[derive(Serialize)]
struct Document<'a, T> {
    version: u32,
    #[serde(flatten)]
    content: &'a T,
}

impl StateFile {
    /// Returns the file of a table whose version on disk is `version`.
    pub(crate) fn new(path: &Path, version: u64) -> Self {
        Self { path: path.to_owned(), written: Mutex::new(version) }
    }

    /// Returns the path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the table, unless `version` or a later one is on disk. Does blocking I/O.
    ///
    /// `snapshot` returns the file's content, from [`to_json`], and the version of the table.
    pub(crate) fn write(
        &self,
        version: u64,
        snapshot: impl FnOnce() -> io::Result<(Vec<u8>, u64)>,
    ) -> io::Result<()> {
        // Serializes the writers. All use the same draft file.
        let mut written = self.written.lock();
        if *written >= version {
            return Ok(());
        }
        // Taken after the lock: the snapshot covers the changes of waiting writers, too.
        let (json, newest) = snapshot()?;
        replace(&self.path, &json)?;
        // After the rename. A failed write leaves the version, so that the next caller tries again.
        *written = newest;
        Ok(())
    }
}

/// Reads the content of a file. Returns `None` if there is no file. Does blocking I/O.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ReadError> {
    let json = match fs::read(path) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ReadError::Io(error)),
    };

    let damaged = |error: serde_json::Error| ReadError::Damaged(error.to_string());
    let Header { version } = serde_json::from_slice(&json).map_err(damaged)?;
    if version != FORMAT {
        return Err(ReadError::Damaged(format!("its version is {version}, not {FORMAT}")));
    }
    serde_json::from_slice(&json).map(Some).map_err(damaged)
}

/// Returns the content of a file, for [`StateFile::write`].
pub(crate) fn to_json<T: Serialize>(content: &T) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&Document { version: FORMAT, content })?)
}

/// Runs a write on a thread that may block. Cancel safe: a write that has started is completed.
pub(crate) async fn write_blocking(
    write: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    // The task fails only if the runtime ends; then the write may be incomplete.
    tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
}

/// Creates a directory that only its owner can read, with its parents.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a file's content, or leaves the file as it was.
///
/// Creates the directory (0700) and the file (0600) if they are missing. Returns when the content
/// is on disk.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    // In the same directory: a rename is atomic only within a file system.
    let draft = path.with_file_name(name);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_directory(directory)?;

    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(content)?;
    // Before the rename: after a power cut the new name must not point to missing content.
    file.sync_all()?;
    fs::rename(&draft, path)?;

    // The rename is a change of the directory, which has its own sync.
    File::open(directory)?.sync_all()
}
