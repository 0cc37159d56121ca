//! Tests of the log and its reader.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn log(directory: &TempDir, quota: u64) -> Log {
    Log::new(directory.path().to_owned(), quota)
}

/// Reads everything from an offset: the output, and the offsets of gaps.
fn read(directory: &TempDir, offset: u64) -> (Vec<u8>, Vec<u64>) {
    let mut cursor = Cursor::new(directory.path(), offset);
    let (mut output, mut gaps) = (Vec::new(), Vec::new());
    loop {
        let expected = cursor.offset();
        let Some(record) = cursor.read().unwrap() else { return (output, gaps) };
        if record.offset > expected {
            gaps.push(record.offset);
        }
        if let Entry::Output(bytes) = record.entry {
            output.extend(bytes);
        }
    }
}

proptest! {
    #[test]
    fn output_is_read_back_from_any_offset(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..2000), 1..40),
        at in any::<prop::sample::Index>(),
    ) {
        let directory = TempDir::new().unwrap();
        let mut log = log(&directory, MIN_QUOTA_BYTES);
        for piece in &pieces {
            log.output(piece).unwrap();
            log.resized(Size { cols: 80, rows: 24 });
        }

        let all = pieces.concat();
        let offset = at.index(all.len() + 1);

        prop_assert_eq!(read(&directory, offset as u64), (all[offset..].to_vec(), vec![]));
        prop_assert_eq!(log.next(), all.len() as u64);
    }

    #[test]
    fn a_segment_cut_anywhere_is_read_to_the_cut(cut in 0_u64..4000) {
        let directory = TempDir::new().unwrap();
        let mut log = log(&directory, MIN_QUOTA_BYTES);
        for number in 0..20_u8 {
            log.output(&[number; 100]).unwrap();
        }
        let path = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        let file = File::options().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(cut.min(length)).unwrap();

        let (output, gaps) = read(&directory, 0);

        let whole = (cut.min(length).saturating_sub(8) / 125) * 100;
        prop_assert_eq!(output.len() as u64, whole);
        prop_assert!(gaps.is_empty());
    }

    #[test]
    fn damaged_bytes_are_never_read_as_output(at in 8_usize..2508, value in any::<u8>()) {
        let directory = TempDir::new().unwrap();
        let mut log = log(&directory, MIN_QUOTA_BYTES);
        for number in 0..20_u8 {
            log.output(&[number; 100]).unwrap();
        }
        let path = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] = value;
        fs::write(&path, &bytes).unwrap();

        let (output, _) = read(&directory, 0);

        let all: Vec<u8> = (0..20_u8).flat_map(|number| [number; 100]).collect();
        prop_assert!(all.starts_with(&output));
    }
    #[test]
    fn a_log_of_arbitrary_records_is_read_to_an_end(
        segments in prop::collection::vec((any::<u64>(), 0..3_u32, records()), 0..5),
        from in any::<u64>(),
    ) {
        let directory = TempDir::new().unwrap();
        let mut count = 0;
        for (start, number, records) in &segments {
            let path = directory.path().join(segment_name(*start, *number));
            let mut bytes = MAGIC.to_vec();
            for (kind, offset, payload, cut) in records {
                let record = [&head(*kind, *offset, payload)[..], payload].concat();
                bytes.extend(&record[..record.len() - cut.index(record.len()) / 20]);
            }
            fs::write(path, bytes).unwrap();
            count += records.len();
        }

        let mut cursor = Cursor::new(directory.path(), from);
        let mut offset = from;
        for _ in 0..=count {
            let Some(record) = cursor.read().unwrap() else { return Ok(()) };
            prop_assert!(record.offset >= offset, "{} after {offset}", record.offset);
            offset = cursor.offset();
        }
        prop_assert!(false, "more records than were written");
    }
}

/// Kind, offset, payload, and what decides how much of the end is missing.
type AnyRecord = (u8, u64, Vec<u8>, prop::sample::Index);

fn records() -> impl Strategy<Value = Vec<AnyRecord>> {
    let offset = prop_oneof![0..200_u64, any::<u64>(), Just(u64::MAX)];
    let payload = prop::collection::vec(any::<u8>(), 0..60);
    prop::collection::vec((0..5_u8, offset, payload, any::<prop::sample::Index>()), 0..12)
}

#[test]
fn the_oldest_segments_are_dropped_above_the_quota() {
    let directory = TempDir::new().unwrap();
    let mut log = log(&directory, MIN_QUOTA_BYTES);
    for _ in 0..200 {
        log.output(&[b'x'; 32 * 1024]).unwrap();
    }

    let files = fs::read_dir(directory.path()).unwrap();
    let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= MIN_QUOTA_BYTES, "{bytes}");

    let (output, gaps) = read(&directory, 0);
    assert_eq!(gaps, [log.oldest()]);
    assert_eq!(log.oldest() + output.len() as u64, log.next());
    assert!(output.len() > 512 * 1024, "{}", output.len());
}

#[test]
fn a_dropped_segment_is_read_to_its_end() {
    let directory = TempDir::new().unwrap();
    let mut log = log(&directory, MIN_QUOTA_BYTES);
    log.output(b"first").unwrap();
    let mut cursor = Cursor::new(directory.path(), 0);
    assert_eq!(cursor.read().unwrap().unwrap().entry, Entry::Output(b"first".to_vec()));
    log.output(b"second").unwrap();

    for _ in 0..200 {
        log.output(&[b'x'; 32 * 1024]).unwrap();
    }

    assert_eq!(cursor.read().unwrap().unwrap().entry, Entry::Output(b"second".to_vec()));
}

#[test]
fn the_exit_is_the_last_record() {
    let directory = TempDir::new().unwrap();
    let mut log = log(&directory, MIN_QUOTA_BYTES);
    let exit = Exit { code: None, signal: Some(9), is_out_of_memory: true };
    log.output(b"bye").unwrap();
    log.exited(exit).unwrap();

    let mut cursor = Cursor::new(directory.path(), 3);

    let record = Record { offset: 3, entry: Entry::Exited(exit) };
    assert_eq!(cursor.read().unwrap(), Some(record));
    assert_eq!(cursor.read().unwrap(), None);
}

#[test]
fn a_size_that_was_not_written_precedes_later_output() {
    let home = TempDir::new().unwrap();
    let directory = home.path().join("log");
    let mut log = Log::new(directory.clone(), MIN_QUOTA_BYTES);
    let (first, second) = (Size { cols: 80, rows: 24 }, Size { cols: 40, rows: 12 });
    log.resized(first);
    log.output(b"lost").unwrap_err();
    log.resized(second);

    fs::create_dir(&directory).unwrap();
    log.output(b"kept").unwrap();

    let mut cursor = Cursor::new(&directory, 0);
    let size = Record { offset: 4, entry: Entry::Resized(second) };
    assert_eq!(cursor.read().unwrap(), Some(size));
    let output = Record { offset: 4, entry: Entry::Output(b"kept".to_vec()) };
    assert_eq!(cursor.read().unwrap(), Some(output));
}
