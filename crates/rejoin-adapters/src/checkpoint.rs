//! The checkpoint: a hub's state in a file, from a process that stops to the next one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rejoin_core::Saved;
use serde::{Deserialize, Serialize};

/// The form of the file; another one is not read.
const VERSION: u32 = 1;

/// A file that a stopping process writes and the next one takes.
#[derive(Clone, Debug)]
pub struct CheckpointFile {
    path: PathBuf,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    saved: &'a Saved,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    saved: Saved,
}

impl CheckpointFile {
    /// The checkpoint at this path.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads it and takes it away: a second life must not begin where the first one did.
    ///
    /// # Errors
    /// If it is there and cannot be read or taken away. It is gone all the same if it could be
    /// read by nobody: it is moved aside.
    pub fn take(&self) -> io::Result<Option<Saved>> {
        let taken = self.path.with_extension("taken");
        match fs::rename(&self.path, &taken) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            renamed => renamed?,
        }
        sync_directory(&self.path)?;
        let read: Read = serde_json::from_reader(BufReader::new(File::open(&taken)?))?;
        if read.version != VERSION {
            let error = format!("it has version {}, and {VERSION} is read", read.version);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        fs::remove_file(&taken)?;
        Ok(Some(read.saved))
    }

    /// Writes it, whole or not at all, for nobody else to read.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, saved: &Saved) -> io::Result<()> {
        let draft = self.path.with_extension("draft");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        let mut writer = BufWriter::new(file);
        serde_json::to_writer(&mut writer, &Written { version: VERSION, saved })?;
        writer.flush()?;
        writer.get_ref().sync_all()?;
        fs::rename(&draft, &self.path)?;
        sync_directory(&self.path)
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
