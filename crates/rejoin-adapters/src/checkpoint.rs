//! The checkpoint file: the state that a stopping process leaves to the next one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rejoin_core::Saved;
use serde::{Deserialize, Serialize};

/// The version of the file format; files of other versions are refused.
const VERSION: u32 = 1;

/// A file that a stopping process writes and the next process consumes.
#[derive(Clone, Debug)]
pub struct CheckpointFile {
    path: PathBuf,
}

#[derive(Serialize)]
struct WrittenContent<'a> {
    version: u32,
    saved: &'a Saved,
}

#[derive(Deserialize)]
struct ReadContent {
    version: u32,
    saved: Saved,
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
    /// Returns an error if the file cannot be renamed, read or removed, or has another version. An
    /// unreadable file is kept under the extension `taken`, so the next start does not fail again.
    pub fn take(&self) -> io::Result<Option<Saved>> {
        // Renamed before it is read: after a crash from here on, a second process must not start
        // from the same state and hand out the same positions twice.
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
    /// Returns an error if the file cannot be written; an existing checkpoint is then unchanged.
    pub fn write(&self, saved: &Saved) -> io::Result<()> {
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
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
