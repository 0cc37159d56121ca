//! The log of a terminal: numbered records in segment files, with a quota.
//!
//! A segment is named by the offset of its first record and begins with [`MAGIC`]. A record is
//!
//! | bytes | field |
//! |---|---|
//! | 4 | length of the payload |
//! | 4 | CRC-32 of everything after this field |
//! | 1 | kind: 1 output, 2 resize, 3 exit |
//! | 8 | time in milliseconds since 1970 |
//! | 8 | offset: bytes of output before the record |
//! | … | payload |
//!
//! Numbers are little-endian. Only the keeper writes, but any process may read. A record that a
//! crash cut off ends its segment.

mod cursor;

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, IoSlice, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

pub use cursor::Cursor;

use crate::wire::{Exit, Size, exit_to};

/// The magic bytes and the version at the start of a segment.
pub const MAGIC: [u8; 8] = *b"rjlog\0\0\x01";
/// The length of a record without its payload, in bytes.
const HEAD_BYTES: usize = 25;
/// The maximum length of a payload, in bytes: the most that is read from the PTY at once.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// The maximum length of a segment, in bytes. A small quota leads to smaller segments.
const MAX_SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// The minimum number of segments that fit into the quota, so that dropping one loses little.
const SEGMENTS: u64 = 8;
/// The space for the last record on a full disk, in bytes: two common file system blocks.
const RESERVED_BYTES: usize = 8192;
/// The minimum quota, in bytes.
pub const MIN_QUOTA_BYTES: u64 = 1024 * 1024;

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Bytes of output before the record.
    pub offset: u64,
    /// The content.
    pub entry: Entry,
}

/// The content of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Output of the program, at most [`MAX_PAYLOAD_BYTES`].
    Output(Vec<u8>),
    /// A change of the terminal's size.
    Resized(Size),
    /// The end of the program.
    Exited(Exit),
}

/// A segment file.
#[derive(Debug)]
struct Segment {
    path: PathBuf,
    bytes: u64,
}

/// The end of a log: a segment, and a position in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The offset and the number in the segment's name.
    segment: (u64, u32),
    position: u64,
}

/// The writer of a log.
#[derive(Debug)]
pub(crate) struct Log {
    directory: PathBuf,
    quota: u64,
    /// The segments, oldest first. The last one is written to.
    segments: VecDeque<Segment>,
    file: Option<File>,
    oldest: u64,
    next: u64,
    /// A size that could not be written yet. It precedes the next record.
    unwritten_size: Option<Size>,
}

impl Log {
    /// Creates a log in an empty directory. Keeps at most `quota` bytes, which is raised to
    /// [`MIN_QUOTA_BYTES`] if it is smaller.
    pub(crate) fn new(directory: PathBuf, quota: u64) -> Self {
        let quota = quota.max(MIN_QUOTA_BYTES);
        let segments = VecDeque::new();
        Self { directory, quota, segments, file: None, oldest: 0, next: 0, unwritten_size: None }
    }

    /// Returns the directory of the segments.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the offset of the oldest output in the log.
    pub(crate) fn oldest(&self) -> u64 {
        self.oldest
    }

    /// Returns the offset after the newest output, written or lost.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Returns the position of the next record.
    pub(crate) fn end(&self) -> Option<End> {
        let segment = self.segments.back()?;
        Some(End { segment: segment_start(&segment.path)?, position: segment.bytes })
    }

    /// Appends output of at most [`MAX_PAYLOAD_BYTES`].
    ///
    /// Always advances the offset, so that output that could not be written leaves a gap.
    ///
    /// # Errors
    /// If the output could not be written, for example to a full disk.
    pub(crate) fn output(&mut self, bytes: &[u8]) -> io::Result<()> {
        let offset = self.next;
        self.next += bytes.len() as u64;
        self.write_missing_size(offset)?;
        self.append(1, offset, bytes)
    }

    /// Appends a change of size. A size that cannot be written yet is written before the next
    /// output, so that no output in the log has the wrong size.
    pub(crate) fn resized(&mut self, size: Size) {
        self.unwritten_size = Some(size);
        let _ = self.write_missing_size(self.next);
    }

    /// Appends the end of the program, and waits until the log is on disk. On a full disk, frees
    /// the [reserved](Self::reserve) space and then the oldest segments.
    ///
    /// # Errors
    /// If the record could not be written.
    pub(crate) fn exited(&mut self, exit: Exit) -> io::Result<()> {
        let mut payload = Vec::new();
        exit_to(&mut payload, exit);
        while let Err(error) = self.append(3, self.next, &payload) {
            if !is_disk_full(&error) || !self.make_room() {
                return Err(error);
            }
        }

        // Syncs only the exit. Written output survives the end of any process, and after a power
        // failure there is no program whose output could continue.
        let Some(file) = &self.file else { return Ok(()) };
        file.sync_all()?;
        File::open(&self.directory)?.sync_all()
    }

    /// Starts a new segment with the next record, because readers skip everything after damage.
    pub(crate) fn end_segment(&mut self) {
        self.file = None;
    }

    fn write_missing_size(&mut self, offset: u64) -> io::Result<()> {
        let Some(size) = self.unwritten_size else { return Ok(()) };
        let mut payload = size.cols.to_le_bytes().to_vec();
        payload.extend_from_slice(&size.rows.to_le_bytes());
        self.append(2, offset, &payload)?;
        self.unwritten_size = None;
        Ok(())
    }

    fn append(&mut self, kind: u8, offset: u64, payload: &[u8]) -> io::Result<()> {
        let head = head(kind, offset, payload);
        // The record starts the next segment.
        if self.is_full() {
            self.file = None;
        }
        if self.file.is_none() {
            self.start_segment(offset)?;
        }

        let (Some(file), Some(segment)) = (&mut self.file, self.segments.back_mut()) else {
            return Ok(());
        };
        if let Err(error) = write_both(file, &head, payload) {
            // A partial record would hide the records after it.
            if file.set_len(segment.bytes).is_err() {
                self.file = None;
            }
            return Err(error);
        }
        segment.bytes += (HEAD_BYTES + payload.len()) as u64;
        Ok(())
    }

    fn is_full(&self) -> bool {
        let segment_bytes = (self.quota / SEGMENTS).min(MAX_SEGMENT_BYTES);
        self.segments.back().is_some_and(|segment| segment.bytes >= segment_bytes)
    }

    fn start_segment(&mut self, offset: u64) -> io::Result<()> {
        // Two segments start at the same offset if only a resize lies between them.
        let number = self.segments.back().map_or(0, |last| next_number(&last.path, offset));
        let path = self.directory.join(segment_name(offset, number));
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create_new(true).mode(0o600).open(&path)?;
        // A segment without its magic could not be read.
        if let Err(error) = file.write_all(&MAGIC) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }

        self.segments.push_back(Segment { path, bytes: MAGIC.len() as u64 });
        self.file = Some(file);
        self.drop_oldest();
        Ok(())
    }

    /// Drops the oldest segments above the quota.
    fn drop_oldest(&mut self) {
        let segment_bytes = (self.quota / SEGMENTS).min(MAX_SEGMENT_BYTES);
        let mut total: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        // Makes room for a full segment, so that the quota holds while the new one is filled. The
        // last segment, which is written to, always stays.
        while self.segments.len() > 1 && total + segment_bytes > self.quota {
            total -= self.drop_first();
        }
    }

    /// Reserves space for the last record, in case the disk is full by then.
    ///
    /// # Errors
    /// If the space cannot be reserved, for example on a full disk.
    pub(crate) fn reserve(&self) -> io::Result<()> {
        fs::write(self.reserved(), [0; RESERVED_BYTES])
    }

    /// Frees space for the last record. Returns `false` if only the newest segment is left.
    fn make_room(&mut self) -> bool {
        fs::remove_file(self.reserved()).is_ok()
            || (self.segments.len() > 1 && self.drop_first() > 0)
    }

    /// Returns the path of the file that reserves space, outside of the log.
    fn reserved(&self) -> PathBuf {
        self.directory.with_file_name("reserved")
    }

    /// Removes the oldest segment. Returns its length, in bytes.
    fn drop_first(&mut self) -> u64 {
        let Some(oldest) = self.segments.pop_front() else { return 0 };
        let _ = fs::remove_file(&oldest.path);
        let first = self.segments.front().and_then(|segment| segment_start(&segment.path));
        self.oldest = first.map_or(self.next, |(offset, _)| offset);
        oldest.bytes
    }
}

/// Returns `true` for a full disk or an exhausted quota.
fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Returns the fields that precede a record's payload.
fn head(kind: u8, offset: u64, payload: &[u8]) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let length = u32::try_from(payload.len()).expect("payloads are bounded");
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[8] = kind;
    head[9..17].copy_from_slice(&now_ms().to_le_bytes());
    head[17..].copy_from_slice(&offset.to_le_bytes());

    // The checksum covers everything after itself.
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&head[8..]);
    checksum.update(payload);
    head[4..8].copy_from_slice(&checksum.finalize().to_le_bytes());
    head
}

/// Writes two buffers, with one system call unless the file takes only part of them.
fn write_both(file: &mut File, head: &[u8], payload: &[u8]) -> io::Result<()> {
    let written = loop {
        match file.write_vectored(&[IoSlice::new(head), IoSlice::new(payload)]) {
            Ok(written) => break written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    file.write_all(&head[written.min(head.len())..])?;
    file.write_all(&payload[written.saturating_sub(head.len())..])
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the name of a segment. Names sort by offset, then by number.
fn segment_name(offset: u64, number: u32) -> String {
    format!("{offset:020}-{number:06}")
}

/// Parses the offset and the number in a segment's name.
fn segment_start(path: &Path) -> Option<(u64, u32)> {
    let (offset, number) = path.file_name()?.to_str()?.split_once('-')?;
    Some((offset.parse().ok()?, number.parse().ok()?))
}

fn next_number(last: &Path, offset: u64) -> u32 {
    match segment_start(last) {
        Some((start, number)) if start == offset => number + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
