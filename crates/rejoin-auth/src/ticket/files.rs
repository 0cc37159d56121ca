//! The files of unspent tickets: one per ticket, named by its hash.
//!
//! A crash of the process loses no write that has returned. A crash of the machine may, but then
//! no ticket is valid any more: each belongs to one boot. So no write waits for the disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rejoin_core::{Identity, MachineClock};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    secret::Hash,
    state_file::create_directory,
    ticket::{LIFE_MS, TicketError},
};

/// The longest file that is read. An identity comes from a token or a session, which is shorter.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// The files of the tickets of one server.
#[derive(Clone, Debug)]
pub(super) struct TicketFiles {
    directory: PathBuf,
    clock: MachineClock,
}

/// The content of a file.
#[derive(Deserialize, Serialize)]
struct StoredTicket<I> {
    /// The boot of the machine in which the ticket is valid.
    boot: String,
    /// The expiry on the clock of that boot, in milliseconds.
    expires: u64,
    identity: I,
}

impl TicketFiles {
    pub(super) fn new(directory: &Path, clock: MachineClock) -> Self {
        Self { directory: directory.to_owned(), clock }
    }

    /// Returns the valid tickets with the time that each has left. Removes all other files.
    pub(super) fn load(&self) -> io::Result<Vec<(Hash, Identity, Duration)>> {
        create_directory(&self.directory)?;
        let mut tickets = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            match self.read(&entry.path()) {
                Ok(Some(ticket)) => tickets.push(ticket),
                Ok(None) => fs::remove_file(entry.path())?,
                // The only ticket in it is lost, and its client requests another one.
                Err(error) => {
                    let path = entry.path();
                    warn!(path = %path.display(), %error, "removing a ticket that cannot be read");
                    fs::remove_file(path)?;
                }
            }
        }
        Ok(tickets)
    }

    /// Reads one file. Returns `None` for a ticket that has expired.
    fn read(&self, path: &Path) -> io::Result<Option<(Hash, Identity, Duration)>> {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let mut hash = Hash::default();
        let decoded = BASE64_URL_SAFE_NO_PAD.decode_slice(name, &mut hash);
        if decoded != Ok(hash.len()) {
            return Err(io::Error::new(ErrorKind::InvalidData, "its name is not a hash"));
        }

        let mut json = Vec::new();
        File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut json)?;
        let StoredTicket { boot, expires, identity } = serde_json::from_slice(&json)?;
        let left = expires.saturating_sub((self.clock.now)());
        let is_valid = boot == self.clock.boot && left > 0;
        // No ticket has more, whatever a file says.
        Ok(is_valid.then_some((hash, identity, Duration::from_millis(left.min(LIFE_MS)))))
    }

    /// Writes the file of a new ticket.
    pub(super) fn write(&self, hash: &Hash, identity: &Identity) -> io::Result<()> {
        let expires = (self.clock.now)().saturating_add(LIFE_MS);
        let boot = self.clock.boot.clone();
        let json = serde_json::to_vec(&StoredTicket { boot, expires, identity })?;

        let path = self.path(hash);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let opened = options.open(&path).or_else(|error| match error.kind() {
            // The directory was removed.
            ErrorKind::NotFound => {
                create_directory(&self.directory).and_then(|()| options.open(&path))
            }
            _ => Err(error),
        });
        opened.and_then(|mut file| file.write_all(&json)).inspect_err(|_| {
            // Empty or incomplete.
            let _ = fs::remove_file(&path);
        })
    }

    /// Removes the file of a ticket, if there is one.
    pub(super) fn remove(&self, hash: &Hash) -> io::Result<()> {
        match fs::remove_file(self.path(hash)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns the error of a failed operation.
    pub(super) fn error(&self, error: io::Error) -> TicketError {
        TicketError::Files { directory: self.directory.clone(), error }
    }

    fn path(&self, hash: &Hash) -> PathBuf {
        self.directory.join(BASE64_URL_SAFE_NO_PAD.encode(hash))
    }
}
