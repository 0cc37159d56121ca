//! The journal in a file.
//!
//! The file is a sequence of batches, each of which is written and synced as a whole: a header of
//! 16 bytes, then records as lines of JSON. The header contains the length and the checksum of the
//! lines, and its own checksum, all little-endian. A batch that a crash cut off was never
//! acknowledged, and is dropped.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, Write},
    mem,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use rejoin_core::{BoxFuture, Journal, JournalRecord, JournalRecords, StoreError};
use tracing::{error, warn};

/// The first bytes of each header, with the version as the last one.
const MAGIC: [u8; 4] = *b"RJJ2";
const HEADER_BYTES: usize = 16;
/// The size of the batches into which a rewrite is divided, in bytes.
const BATCH_BYTES: usize = 1024 * 1024;

/// A journal in a file, which one process uses at a time.
#[derive(Clone, Debug)]
pub struct FileJournal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// `None` until the journal is loaded.
    file: Mutex<Option<JournalFile>>,
}

#[derive(Debug)]
struct JournalFile {
    file: File,
    /// The size of the complete batches, in bytes. A failed write may leave bytes after them.
    len: u64,
    /// A write has failed, and part of it may still be in the file.
    has_rest: bool,
}

impl FileJournal {
    /// Creates a handle to the journal at this path, without performing I/O.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { shared: Arc::new(Shared { path, file: Mutex::default() }) }
    }

    /// Runs an operation on a thread that may block.
    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        operation: impl FnOnce(&Shared) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let run = move || {
            let path = shared.path.display();
            operation(&shared)
                .map_err(|error| StoreError(format!("cannot {action} {path}: {error}")))
        };
        let result = tokio::task::spawn_blocking(run).await;
        result.unwrap_or_else(|error| Err(StoreError(error.to_string())))
    }
}

impl Journal for FileJournal {
    fn load(&self) -> BoxFuture<'_, Result<Vec<JournalRecord>, StoreError>> {
        Box::pin(self.run("read", Shared::load))
    }

    fn append<'a>(
        &'a self,
        records: &'a [JournalRecord],
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        let batch = encode(records);
        Box::pin(self.run("write", move |shared| shared.append(&batch?)))
    }

    fn replace(&self, records: JournalRecords) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.run("write", move |shared| shared.replace(records)))
    }
}

impl JournalFile {
    /// Returns `true` if the open file is the one at `path`.
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let open = self.file.metadata()?;
        match fs::metadata(path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (open.dev(), open.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Truncates what a failed write left in the file. The next process could read it as a batch,
    /// although its messages were refused.
    fn drop_rest(&mut self) -> io::Result<()> {
        self.file.set_len(self.len)?;
        self.file.sync_all()?;
        self.has_rest = false;
        Ok(())
    }
}

impl Shared {
    fn load(&self) -> io::Result<Vec<JournalRecord>> {
        let content = match fs::read(&self.path) {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        check_version(&content)?;
        let (records, len) = match read(&content) {
            Ok(read) => read,
            Err(damage) => {
                let kept = self.path.with_extension("damaged");
                fs::rename(&self.path, &kept)?;
                let (path, kept) = (self.path.display(), kept.display());
                error!(
                    %path, %kept, offset = damage.offset,
                    "the journal is damaged; all topics start empty, and clients learn of a gap"
                );
                (Vec::new(), 0)
            }
        };
        let cut = content.len().saturating_sub(len);
        if len > 0 && cut > 0 {
            warn!(path = %self.path.display(), bytes = cut, "dropping a write that a crash cut off");
        }

        let file = open(&self.path)?;
        file.set_len(len as u64)?;
        file.sync_all()?;
        sync_directory(&self.path)?;
        *self.file.lock() = Some(JournalFile { file, len: len as u64, has_rest: false });
        Ok(records)
    }

    fn append(&self, batch: &[u8]) -> io::Result<u64> {
        let mut guard = self.file.lock();
        let journal = guard.as_mut().ok_or(ErrorKind::NotConnected)?;
        if journal.has_rest {
            journal.drop_rest()?;
        }
        if !journal.is_at(&self.path)? {
            self.put_back(journal)?;
        }

        journal.has_rest = true;
        let end = journal.len;
        let written = journal.file.write_all_at(batch, end).and_then(|()| journal.file.sync_data());
        if let Err(error) = written {
            // Tries at once, because a crash may follow. Otherwise the next write has to do it.
            let _ = journal.drop_rest();
            return Err(error);
        }
        journal.has_rest = false;
        journal.len += batch.len() as u64;
        Ok(journal.len)
    }

    /// Copies the open file to the journal's path, from which it was removed. Otherwise the next
    /// process would find none of its messages.
    fn put_back(&self, journal: &mut JournalFile) -> io::Result<()> {
        let draft = self.path.with_extension("draft");
        let mut copy = open(&draft)?;
        copy.set_len(0)?;
        journal.file.rewind()?;
        io::copy(&mut (&journal.file).take(journal.len), &mut copy)?;
        copy.sync_all()?;
        fs::rename(&draft, &self.path)?;
        sync_directory(&self.path)?;

        journal.file = copy;
        error!(path = %self.path.display(), "the journal was removed or replaced; it is written again");
        Ok(())
    }

    fn replace(&self, records: JournalRecords) -> io::Result<u64> {
        let draft = self.path.with_extension("draft");
        let mut file = open(&draft)?;
        file.set_len(0)?;
        let mut len = 0;
        let mut write = |batch: Batch| {
            let batch = batch.finish()?;
            len += batch.len() as u64;
            file.write_all(&batch)
        };

        let mut batch = Batch::new();
        for record in records {
            batch.push(&record)?;
            if batch.bytes.len() >= BATCH_BYTES {
                write(mem::replace(&mut batch, Batch::new()))?;
            }
        }
        if !batch.is_empty() {
            write(batch)?;
        }

        // Not locked earlier, because creating the records takes the locks of streams.
        let mut journal = self.file.lock();
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        // Synced before the next append: the old file, which a power failure could bring back,
        // would lack it.
        sync_directory(&self.path)?;
        *journal = Some(JournalFile { file, len, has_rest: false });
        Ok(len)
    }
}

/// Makes a rename in the file's directory durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Not opened in append mode, in which Linux ignores the offset of a write.
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Refuses a journal of another version, which would otherwise look like an interrupted write.
fn check_version(content: &[u8]) -> io::Result<()> {
    match content.strip_prefix(&MAGIC[..3]) {
        Some([version, ..]) if *version != MAGIC[3] => {
            let error = format!(
                "it has version {}, but this server reads version {}; move it away to start without it",
                version.escape_ascii(),
                MAGIC[3].escape_ascii(),
            );
            Err(io::Error::new(ErrorKind::InvalidData, error))
        }
        _ => Ok(()),
    }
}

/// A batch under construction.
struct Batch {
    bytes: Vec<u8>,
}

impl Batch {
    fn new() -> Self {
        Self { bytes: vec![0; HEADER_BYTES] }
    }

    fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER_BYTES
    }

    fn push(&mut self, record: &JournalRecord) -> io::Result<()> {
        serde_json::to_writer(&mut self.bytes, record)?;
        self.bytes.push(b'\n');
        Ok(())
    }

    /// Fills in the header.
    fn finish(mut self) -> io::Result<Vec<u8>> {
        let (header, lines) = self.bytes.split_at_mut(HEADER_BYTES);
        let len = u32::try_from(lines.len()).map_err(|_| ErrorKind::FileTooLarge)?;
        header[..4].copy_from_slice(&MAGIC);
        header[4..8].copy_from_slice(&len.to_le_bytes());
        header[8..12].copy_from_slice(&crc32fast::hash(lines).to_le_bytes());
        let checksum = crc32fast::hash(&header[..12]);
        header[12..].copy_from_slice(&checksum.to_le_bytes());
        Ok(self.bytes)
    }
}

fn encode(records: &[JournalRecord]) -> io::Result<Vec<u8>> {
    let mut batch = Batch::new();
    records.iter().try_for_each(|record| batch.push(record))?;
    batch.finish()
}

/// A batch that was once complete but cannot be read.
#[derive(Debug)]
struct Damage {
    /// The offset of the batch in the file.
    offset: usize,
}

/// Returns the records of the complete batches, and the total size of these batches, in bytes.
///
/// A batch is not written until the previous one is synced, so a crash leaves at most one
/// incomplete batch, at the end. An incomplete batch that is followed by another one is damage.
fn read(content: &[u8]) -> Result<(Vec<JournalRecord>, usize), Damage> {
    let (mut records, mut offset) = (Vec::new(), 0);
    while let Some(lines) = lines_of(&content[offset..]) {
        for record in serde_json::Deserializer::from_slice(lines).into_iter() {
            records.push(record.map_err(|_| Damage { offset })?);
        }
        offset += HEADER_BYTES + lines.len();
    }

    let rest = content.get(offset + 1..).unwrap_or_default();
    match rest.windows(HEADER_BYTES).any(|header| len_in(header).is_some()) {
        true => Err(Damage { offset }),
        false => Ok((records, offset)),
    }
}

/// Returns the lines of the batch at the start of `content`, if it is complete.
fn lines_of(content: &[u8]) -> Option<&[u8]> {
    let (header, rest) = content.split_at_checked(HEADER_BYTES)?;
    let lines = rest.get(..len_in(header)?)?;
    (crc32fast::hash(lines) == number(header, 8)).then_some(lines)
}

/// Returns the length in a header, or `None` if the bytes are not a valid header.
fn len_in(header: &[u8]) -> Option<usize> {
    let is_header =
        header.starts_with(&MAGIC) && crc32fast::hash(&header[..12]) == number(header, 12);
    is_header.then(|| number(header, 4) as usize)
}

fn number(header: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([0, 1, 2, 3].map(|index| header[at + index]))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use rejoin_core::{JournalMessage, StreamOwner};
    use rejoin_protocol::{Position, TopicName, UserId};

    use super::*;

    fn record(offset: u64) -> JournalRecord {
        let name = TopicName::new("news").expect("a topic");
        let creator = UserId::new("ann").expect("a user");
        JournalRecord::Message(JournalMessage {
            stream: StreamOwner::Topic { name, creator },
            position: Position { epoch: u64::MAX, offset },
            at: 5,
            text: format!("{{\"n\":{offset}}}"),
            key: None,
        })
    }

    fn records(offsets: Range<u64>) -> JournalRecords {
        Box::new(offsets.map(record))
    }

    fn journal() -> (Vec<u8>, Vec<usize>) {
        let (mut content, mut ends) = (Vec::new(), vec![0]);
        for head in 1..=3 {
            content.extend(encode(&[record(head), record(head + 10)]).expect("encodes"));
            ends.push(content.len());
        }
        (content, ends)
    }

    #[test]
    fn a_journal_cut_anywhere_keeps_its_complete_batches() {
        let (content, ends) = journal();
        for cut in 0..=content.len() {
            let complete = ends.iter().filter(|end| **end <= cut).count() - 1;
            let (records, len) = read(&content[..cut]).expect("no damage");
            assert_eq!((records.len(), len), (complete * 2, ends[complete]), "cut at {cut}");
        }
    }

    #[test]
    fn a_changed_byte_before_the_last_batch_is_damage() {
        let (content, ends) = journal();
        for index in 0..content.len() {
            let mut changed = content.clone();
            changed[index] ^= 0x20;
            match read(&changed) {
                Ok((records, len)) => {
                    assert!(index >= ends[2], "byte {index} is not noticed");
                    assert_eq!((records.len(), len), (4, ends[2]));
                }
                Err(damage) => assert!(ends.contains(&damage.offset)),
            }
        }
    }

    #[test]
    fn a_file_that_grew_without_data_is_no_damage() {
        let (mut content, ends) = journal();
        content.resize(ends[3] + 4096, 0);
        assert_eq!(read(&content).expect("no damage").1, ends[3]);
    }

    #[tokio::test]
    async fn records_are_loaded_as_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let journal = FileJournal::new(path.clone());
        assert_eq!(journal.load().await.expect("loads"), []);
        let first = journal.append(&[record(1), record(2)]).await.expect("appends");
        assert!(journal.append(&[record(3)]).await.expect("appends") > first);
        let loaded = FileJournal::new(path.clone()).load().await.expect("loads");
        assert_eq!(loaded, [record(1), record(2), record(3)]);

        journal.replace(records(3..4)).await.expect("replaces");
        journal.append(&[record(4)]).await.expect("appends");
        let loaded = FileJournal::new(path).load().await.expect("loads");
        assert_eq!(loaded, [record(3), record(4)]);
    }

    #[tokio::test]
    async fn a_removed_or_replaced_journal_is_written_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let journal = FileJournal::new(path.clone());
        journal.load().await.expect("loads");
        journal.append(&[record(1)]).await.expect("appends");

        fs::remove_file(&path).expect("removes");
        journal.append(&[record(2)]).await.expect("appends");
        let loaded = FileJournal::new(path.clone()).load().await.expect("loads");
        assert_eq!(loaded, [record(1), record(2)]);

        fs::write(folder.path().join("other"), "other").expect("writes");
        fs::rename(folder.path().join("other"), &path).expect("renames");
        journal.append(&[record(3)]).await.expect("appends");
        let loaded = FileJournal::new(path).load().await.expect("loads");
        assert_eq!(loaded, [record(1), record(2), record(3)]);
    }
}
