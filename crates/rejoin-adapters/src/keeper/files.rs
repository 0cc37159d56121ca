//! The server's files in the directory of a terminal: the session's record, and the last screen.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rejoin_core::{SavedScreen, ScreenCheckpoint, SessionRecord};
use rejoin_keeper::Directory;
use rejoin_protocol::TerminalSize;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::spawn_blocking};
use tracing::debug;

/// The file of the session's record.
const RECORD: &str = "session.json";
/// The file of the last screen: a line of JSON, then the bytes.
const SCREEN: &str = "screen";
/// Maximum size of a screen. A larger one is not kept; the log is replayed instead.
const MAX_SCREEN_BYTES: usize = 64 * 1024 * 1024;
/// Maximum size of a record, and of the first line of a screen.
const MAX_RECORD_BYTES: u64 = 64 * 1024;

/// The first line of a screen's file.
#[derive(Serialize, Deserialize)]
struct ScreenHead {
    offset: u64,
    cols: u16,
    rows: u16,
    is_final: bool,
}

/// Writes the record and waits until it is on disk.
pub(super) fn write_record(directory: &Path, record: &SessionRecord) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(directory.join(RECORD))?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}

/// Reads the record; returns `None` if there is none.
pub(super) fn read_record(directory: &Path) -> io::Result<Option<SessionRecord>> {
    let file = match File::open(directory.join(RECORD)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(serde_json::from_reader(file.take(MAX_RECORD_BYTES))?))
}

/// Replaces the last screen. A crash leaves the old one or the new one.
fn write_screen(directory: &Path, screen: ScreenCheckpoint) -> io::Result<()> {
    let ScreenCheckpoint { offset, size, is_final, pieces } = screen;
    let head = ScreenHead { offset, cols: size.cols(), rows: size.rows(), is_final };
    let mut content = serde_json::to_vec(&head)?;
    content.push(b'\n');
    for piece in pieces {
        content.extend_from_slice(&piece);
        if content.len() > MAX_SCREEN_BYTES {
            return Err(io::Error::other("the screen is too large to keep"));
        }
    }

    let draft = directory.join("screen.draft");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&content)?;
    fs::rename(&draft, directory.join(SCREEN))
}

/// Reads the last screen; returns `None` if there is none.
pub(super) fn read_screen(directory: &Path) -> io::Result<Option<SavedScreen>> {
    let file = match File::open(directory.join(SCREEN)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    // Bounded, because the file may be damaged.
    file.take(2 * MAX_SCREEN_BYTES as u64).read_to_end(&mut content)?;

    let invalid = || io::Error::new(ErrorKind::InvalidData, "the kept screen is damaged");
    let end = content.iter().position(|byte| *byte == b'\n').ok_or_else(invalid)?;
    let ScreenHead { offset, cols, rows, is_final } = serde_json::from_slice(&content[..end])?;
    let size = TerminalSize::new(cols, rows).ok_or_else(invalid)?;
    content.drain(..=end);
    Ok(Some(SavedScreen { offset, size, is_final, bytes: content }))
}

/// Writes each screen until the session has dropped its sender.
pub(super) async fn write_screens(
    directory: Directory,
    mut screens: mpsc::Receiver<ScreenCheckpoint>,
) {
    while let Some(screen) = screens.recv().await {
        let path = directory.path().to_owned();
        let write = spawn_blocking(move || write_screen(&path, screen));
        let written = write.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = written {
            // The next start replays more of the log.
            debug!(%error, "cannot keep a screen");
        }
    }
}
