//! The file of revocations: written whole or not at all.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    durable,
    revocation::{MAX_REVOCATIONS, Revocation, RevocationError},
};

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
    let text = serde_json::to_vec(&ContentRef { version: VERSION, revocations })?;
    durable::replace(path, &text)
}
