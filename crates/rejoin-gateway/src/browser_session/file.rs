//! The file of browser sessions: written whole or not at all.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::browser_session::{
    BrowserSessionError,
    entries::{Entries, Entry},
};

/// The version that this server writes and reads.
const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Content {
    version: u32,
    sessions: Vec<Entry>,
}

#[derive(Serialize)]
struct ContentRef<'a> {
    version: u32,
    sessions: Vec<&'a Entry>,
}

/// Reads the sessions of a file; none if there is no file.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, BrowserSessionError> {
    let damaged = |why| BrowserSessionError::Damaged { path: path.to_owned(), why };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(BrowserSessionError::NotRead { path: path.to_owned(), error }),
    };
    let content: Content =
        serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if content.version != VERSION {
        return Err(damaged(format!("its version is {}, not {VERSION}", content.version)));
    }
    Ok(content.sessions.into_iter().map(Entry::measured).collect())
}

/// Returns the content of the file.
pub(super) fn text(entries: &Entries) -> io::Result<Vec<u8>> {
    let content = ContentRef { version: VERSION, sessions: entries.all().collect() };
    Ok(serde_json::to_vec(&content)?)
}

/// Hashes as base64url.
pub(super) mod base64 {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::secret::Hash;

    pub(in crate::browser_session) fn serialize<S: Serializer>(
        hash: &Hash,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_URL_SAFE_NO_PAD.encode(hash))
    }

    pub(in crate::browser_session) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(D::Error::custom)?;
        Hash::try_from(bytes).map_err(|_| D::Error::custom("a hash has 32 bytes"))
    }
}
