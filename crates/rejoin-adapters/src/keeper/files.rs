//! The server's files in the directory of a terminal: the session's record, and the last screen.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rejoin_core::{SavedScreen, ScreenCheckpoint, ScreenPieces, SessionRecord};
use rejoin_keeper::Directory;
use rejoin_protocol::TerminalSize;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::spawn_blocking};
use tracing::{debug, warn};

use super::disk::DiskShare;

/// The name of the file with the session's record.
const RECORD: &str = "session.json";
/// The name of the file with the last screen: a line of JSON, then the screen's bytes.
const SCREEN: &str = "screen";
/// The maximum size of a kept screen, in bytes. Instead of a larger one, the log is replayed.
const MAX_SCREEN_BYTES: u64 = 64 * 1024 * 1024;
/// The name of the file with a screen that is being written.
const DRAFT: &str = "screen.draft";
/// The number of bytes that are read from a screen's file at a time.
const PIECE_BYTES: u64 = 64 * 1024;
/// The maximum size of a record, and of the first line of a screen, in bytes.
const MAX_RECORD_BYTES: u64 = 64 * 1024;

/// The first line of a screen's file.
#[derive(Serialize, Deserialize)]
struct ScreenHead {
    /// The number of bytes after the line.
    length: u64,
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

/// Reads the record. Returns `None` if there is none.
pub(super) fn read_record(directory: &Directory) -> io::Result<Option<SessionRecord>> {
    let file = match directory.open(RECORD) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(serde_json::from_reader(file.take(MAX_RECORD_BYTES))?))
}

/// Logs that a terminal's log has no output from one offset to another.
pub(super) fn log_lost_output(directory: &Directory, from: u64, to: u64) {
    let session = directory.path().file_name().unwrap_or_default().to_string_lossy();
    let bytes = to.saturating_sub(from);
    warn!(%session, from, to, bytes, "output of a terminal is lost: its log is incomplete");
}

/// Replaces the last screen. A crash leaves either the old screen or the new one.
///
/// `space` is the disk space of the last screen, and afterwards that of the new one.
fn write_screen(
    directory: &Path,
    screen: ScreenCheckpoint,
    space: &mut Option<DiskShare>,
) -> io::Result<()> {
    let draft = directory.join(DRAFT);
    let mut draft_space = space.as_ref().map(DiskShare::another);
    let written = write_draft(&draft, screen, draft_space.as_mut())
        .and_then(|()| fs::rename(&draft, directory.join(SCREEN)))
        .map(|()| *space = draft_space);
    if written.is_err() {
        // A full disk must not also hold half a screen.
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Writes a screen piece by piece, so that it is never entirely in memory.
fn write_draft(
    path: &Path,
    screen: ScreenCheckpoint,
    mut space: Option<&mut DiskShare>,
) -> io::Result<()> {
    let ScreenCheckpoint { offset, size, is_final, pieces } = screen;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut file = BufWriter::new(file);

    // The length is not known until the end, so it is written with a fixed width.
    let head = |length| {
        serde_json::to_string(&ScreenHead {
            length,
            offset,
            cols: size.cols(),
            rows: size.rows(),
            is_final,
        })
    };
    let width = head(MAX_SCREEN_BYTES)?.len();
    writeln!(file, "{:width$}", "")?;

    let mut length = 0;
    for piece in pieces {
        length += piece.len() as u64;
        if length > MAX_SCREEN_BYTES {
            return Err(io::Error::other("the screen is too large to keep"));
        }
        if let Some(space) = &mut space {
            space.grow(piece.len() as u64).map_err(io::Error::other)?;
        }
        file.write_all(&piece)?;
    }

    let mut file = file.into_inner()?;
    file.seek(SeekFrom::Start(0))?;
    write!(file, "{:width$}", head(length)?)
}

/// Opens the last screen. Returns `None` if there is none.
pub(super) fn open_screen(directory: &Directory) -> io::Result<Option<SavedScreen>> {
    let file = match directory.open(SCREEN) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let file_length = file.metadata()?.len();
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    file.by_ref().take(MAX_RECORD_BYTES).read_until(b'\n', &mut line)?;

    let invalid = || io::Error::new(ErrorKind::InvalidData, "the kept screen is damaged");
    let ScreenHead { length, offset, cols, rows, is_final } = serde_json::from_slice(&line)?;
    let size = TerminalSize::new(cols, rows).ok_or_else(invalid)?;
    if line.len() as u64 + length != file_length {
        return Err(invalid());
    }
    Ok(Some(SavedScreen { offset, size, is_final, length, pieces: pieces(file) }))
}

/// Returns the rest of a file piece by piece, as it is consumed.
fn pieces(mut file: BufReader<File>) -> ScreenPieces {
    Box::new(std::iter::from_fn(move || {
        let mut piece = Vec::new();
        if let Err(error) = file.by_ref().take(PIECE_BYTES).read_to_end(&mut piece) {
            warn!(%error, "the rest of a kept screen cannot be read; the screen is incomplete");
            return None;
        }
        (!piece.is_empty()).then_some(piece)
    }))
}

/// Writes screens until the session drops its sender.
pub(super) async fn write_screens(
    directory: Directory,
    mut space: Option<DiskShare>,
    mut screens: mpsc::Receiver<ScreenCheckpoint>,
) {
    while let Some(screen) = screens.recv().await {
        let path = directory.path().to_owned();
        let write = spawn_blocking(move || {
            let written = write_screen(&path, screen, &mut space);
            (space, written)
        });
        let written;
        (space, written) = write.await.unwrap_or_else(|error| (None, Err(io::Error::other(error))));
        if let Err(error) = written {
            // Not serious: the next start replays more of the log.
            debug!(%error, "cannot keep a screen");
        }
    }
}
