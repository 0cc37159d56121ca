//! The checkpoint file: the state that a stopping process leaves to the next one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rejoin_core::SavedHub;
use serde::{Deserialize, Serialize};

/// The form of the file; another one is not read.
const VERSION: u32 = 2;

/// A file that a stopping process writes and the next process consumes.
#[derive(Clone, Debug)]
pub struct CheckpointFile {
    path: PathBuf,
}

#[derive(Serialize)]
struct WrittenContent<'a> {
    version: u32,
    saved: &'a SavedHub,
}

#[derive(Deserialize)]
struct ReadContent {
    version: u32,
    saved: SavedHub,
}

impl CheckpointFile {
    /// Creates a handle to the checkpoint at this path, without any I/O.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads and removes the checkpoint; returns `None` if there is none.
    ///
    /// # Errors
    /// If the file exists and cannot be read or removed. A file that cannot be parsed is renamed
    /// first, so that the next start succeeds.
    pub fn take(&self) -> io::Result<Option<SavedHub>> {
        let taken = self.path.with_extension("taken");
        match fs::rename(&self.path, &taken) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            renamed => renamed?,
        }

        sync_directory(&self.path)?;
        let content: ReadContent = serde_json::from_reader(BufReader::new(File::open(&taken)?))?;
        if content.version != VERSION {
            let error = format!(
                "the checkpoint has version {}, but this server reads version {VERSION}",
                content.version
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }

        fs::remove_file(&taken)?;
        Ok(Some(content.saved))
    }

    /// Writes the checkpoint atomically, readable by its owner only.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, saved: &SavedHub) -> io::Result<()> {
        let draft = self.path.with_extension("draft");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;

        let mut writer = BufWriter::new(file);
        serde_json::to_writer(&mut writer, &WrittenContent { version: VERSION, saved })?;
        writer.flush()?;
        // Without this, a power failure after the rename could leave an empty file.
        writer.get_ref().sync_all()?;

        fs::rename(&draft, &self.path)?;
        sync_directory(&self.path)
    }
}

/// Makes a rename in the file's directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
