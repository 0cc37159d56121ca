//! A reader of the log.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{End, Entry, HEAD_BYTES, MAGIC, MAX_PAYLOAD_BYTES, Record, segment_start};
use crate::wire::Fields;

/// A position in a log, from which records are read.
///
/// Keeps its segment open, so that it can read the segment to its end even if the keeper drops it.
#[derive(Debug)]
pub struct Cursor {
    directory: PathBuf,
    /// Output before this offset is skipped.
    from: u64,
    segment: Option<Open>,
}

#[derive(Debug)]
struct Open {
    start: (u64, u32),
    file: File,
    position: u64,
}

impl Cursor {
    /// Returns a cursor in the log in `directory` at `offset`, or at the oldest record after it.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, offset: u64) -> Self {
        Self { directory: directory.into(), from: offset, segment: None }
    }

    /// Returns the offset after the output that was read.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.from
    }

    /// Skips to an offset. The caller has the output before it from another source.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        self.from = offset;
    }

    /// Returns `true` if every record before `end` was read.
    pub(crate) fn is_at(&self, end: Option<End>) -> bool {
        end.is_some() && self.place() == end
    }

    /// Returns `true` if the cursor is in the segment of `end`, or in a later one.
    pub(crate) fn is_in(&self, end: Option<End>) -> bool {
        self.place().map(|place| place.segment) >= end.map(|end| end.segment)
    }

    /// Skips the newest record: output of `length` bytes that the caller already has. Returns
    /// `false` if other records, or the start of a segment, lie before it.
    pub(crate) fn skip_output(&mut self, end: Option<End>, length: usize) -> bool {
        let (Some(segment), Some(end)) = (&mut self.segment, end) else { return false };
        let record_bytes = (HEAD_BYTES + length) as u64;
        if segment.start != end.segment || segment.position + record_bytes != end.position {
            return false;
        }

        segment.position = end.position;
        self.from += length as u64;
        true
    }

    fn place(&self) -> Option<End> {
        let segment = self.segment.as_ref()?;
        Some(End { segment: segment.start, position: segment.position })
    }

    /// Reads the next record of the current segment.
    pub(crate) fn read_here(&mut self) -> io::Result<Option<Record>> {
        while let Some(record) = self.read_record()? {
            if let Some(record) = self.take(record) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Reads the next record. Returns `None` at the end of the log; more may be appended later.
    ///
    /// Shortens the first record if it starts before the requested offset. A record whose offset is
    /// greater than [`offset`](Self::offset) follows a gap.
    ///
    /// # Errors
    /// If the directory or a segment cannot be read. A damaged record ends its segment, which is
    /// not an error.
    pub fn read(&mut self) -> io::Result<Option<Record>> {
        loop {
            if self.segment.is_none() && !self.open_first()? {
                return Ok(None);
            }

            match self.read_record()? {
                Some(record) => {
                    if let Some(record) = self.take(record) {
                        return Ok(Some(record));
                    }
                }
                // At the end of the segment, or after damage in it, the next segment continues.
                None if !self.open_next()? => return Ok(None),
                None => {}
            }
        }
    }

    /// Shortens or skips a record that starts before the requested offset.
    fn take(&mut self, mut record: Record) -> Option<Record> {
        if record.offset < self.from {
            let Entry::Output(bytes) = &mut record.entry else { return None };
            let skipped = usize::try_from(self.from - record.offset).unwrap_or(usize::MAX);
            if skipped >= bytes.len() {
                return None;
            }
            bytes.drain(..skipped);
            record.offset = self.from;
        }

        let length = if let Entry::Output(bytes) = &record.entry { bytes.len() as u64 } else { 0 };
        // Saturates, because a damaged log may contain any offset.
        self.from = record.offset.saturating_add(length);
        Some(record)
    }

    fn read_record(&mut self) -> io::Result<Option<Record>> {
        let Some(segment) = &mut self.segment else { return Ok(None) };
        let mut head = [0; HEAD_BYTES];
        if !read_at(&segment.file, &mut head, segment.position)? {
            return Ok(None);
        }

        // A truncated or damaged record ends its segment. Its length is checked before it is used,
        // and its payload is verified with the checksum.
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_PAYLOAD_BYTES {
            return Ok(None);
        }
        let mut payload = vec![0; length];
        if !read_at(&segment.file, &mut payload, segment.position + HEAD_BYTES as u64)? {
            return Ok(None);
        }

        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&head[8..]);
        checksum.update(&payload);
        if checksum.finalize().to_le_bytes() != head[4..8] {
            return Ok(None);
        }

        segment.position += (HEAD_BYTES + length) as u64;
        Ok(parse(&head, payload))
    }

    fn open_first(&mut self) -> io::Result<bool> {
        let segments = segments(&self.directory)?;
        // The last segment that starts at or before the offset, or else the oldest one.
        let first = segments.iter().rposition(|(start, _)| start.0 < self.from).unwrap_or(0);
        self.open(segments.get(first))
    }

    fn open_next(&mut self) -> io::Result<bool> {
        let Some(current) = self.segment.as_ref().map(|segment| segment.start) else {
            return Ok(false);
        };
        let segments = segments(&self.directory)?;
        self.open(segments.iter().find(|(start, _)| *start > current))
    }

    fn open(&mut self, segment: Option<&((u64, u32), PathBuf)>) -> io::Result<bool> {
        let Some((start, path)) = segment else { return Ok(false) };
        let file = match File::open(path) {
            Ok(file) => file,
            // The segment was dropped after it was listed. The next call finds its successor.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };

        let mut magic = [0; MAGIC.len()];
        let is_segment = read_at(&file, &mut magic, 0)? && magic == MAGIC;
        let position = if is_segment { MAGIC.len() as u64 } else { u64::MAX };
        self.segment = Some(Open { start: *start, file, position });
        Ok(true)
    }
}

/// Fills the buffer from a position. Returns `false` if the file ends before it is full.
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, position) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        // The name of a file that is not a segment can result in any position.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(false),
        Err(error) => Err(error),
    }
}

/// Parses a record of a known kind. Any other kind counts as damage, which ends the segment. New
/// kinds therefore need a new version of the log.
fn parse(head: &[u8; HEAD_BYTES], payload: Vec<u8>) -> Option<Record> {
    let kind = head[8];
    let offset = u64::from_le_bytes(*head.last_chunk()?);
    let mut fields = Fields { kind, rest: &payload };
    let entry = match kind {
        1 => Entry::Output(payload),
        2 => Entry::Resized(fields.size().ok()?),
        3 => Entry::Exited(fields.exit().ok()?),
        _ => return None,
    };
    Some(Record { offset, entry })
}

/// Lists the segments in order.
fn segments(directory: &Path) -> io::Result<Vec<((u64, u32), PathBuf)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        segments.extend(segment_start(&path).map(|start| (start, path)));
    }
    segments.sort();
    Ok(segments)
}
