//! The file of revocations: written whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::revocation::{MAX_REVOCATIONS, Revocation, RevocationError};

/// What this server writes, and reads.
const VERSION: u32 = 1;

/// A revocation as it is kept.
#[derive(Deserialize, Serialize)]
pub(super) struct Kept {
    #[serde(flatten)]
    pub(super) revocation: Revocation,
    /// The time that is left by the clock that runs with the server, in milliseconds.
    #[serde(default)]
    pub(super) left_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Content {
    version: u32,
    revocations: Vec<Kept>,
}

#[derive(Serialize)]
struct ContentRef<'a> {
    version: u32,
    revocations: &'a [Kept],
}

/// What the file says; nothing if there is none.
pub(super) fn read(path: &Path) -> Result<Vec<Kept>, RevocationError> {
    let damaged = |why| RevocationError::Damaged { path: path.to_owned(), why };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(RevocationError::NotRead { path: path.to_owned(), error }),
    };
    let content: Content =
        serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if content.version != VERSION {
        return Err(damaged(format!("its version is {}, not {VERSION}", content.version)));
    }
    if content.revocations.len() > MAX_REVOCATIONS {
        return Err(damaged(format!("it has more than {MAX_REVOCATIONS} entries")));
    }
    Ok(content.revocations)
}

/// Puts the file in place; once this returns, it is there after a power cut too.
pub(super) fn write(path: &Path, revocations: &[Kept]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let draft = path.with_file_name(name);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let text = serde_json::to_vec(&ContentRef { version: VERSION, revocations })?;
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    // The name is in the directory, which is a file of its own.
    File::open(directory)?.sync_all()
}
