//! `fuzz-keeper-wire` and `fuzz-keeper-log`: damaged bytes into the readers of a keeper's bytes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fastrand::Rng;
use rejoin_keeper::log::{self, Cursor, Entry};
use rejoin_keeper::wire::{Decoder, Exit, Hello, Input, Message, Report, Request, Size, header};

use crate::clock;
use crate::report::print_line;

/// Messages of one stream.
const MAX_MESSAGES: usize = 20;
/// Segments of one log.
const MAX_SEGMENTS: usize = 5;
/// Records of one segment.
const MAX_RECORDS: usize = 10;
/// The largest payload. Most are much smaller, so that more damage hits the other fields.
const MAX_PAYLOAD_BYTES: usize = 600;

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Duration in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// The seed of a run to repeat
    #[arg(long)]
    seed: Option<u64>,
}

/// Decodes damaged streams of both sides.
///
/// # Errors
/// A message before the damage was lost, or one after it has no valid encoding.
pub(crate) fn wire(options: &Options) -> anyhow::Result<()> {
    repeat(options, |random| {
        check_stream(random, request)?;
        check_stream(random, report)
    })
}

/// Reads damaged logs.
///
/// # Errors
/// A reader returned other bytes than were written, or lost a segment without damage.
pub(crate) fn log(options: &Options) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    repeat(options, |random| check_log(random, directory.path()))
}

/// Repeats a check until the time is over. Each run has a seed of its own.
fn repeat(
    options: &Options,
    mut check: impl FnMut(&mut Rng) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let first = options.seed.unwrap_or_else(|| clock::now() % 1_000_000);
    print_line(format_args!("{} s from seed {first}", options.seconds));
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut seed = first;
    while seed == first || Instant::now() < end {
        // Printed before a panic as well, because the panic has no context.
        let _printed = Reported(seed);
        check(&mut Rng::with_seed(seed)).with_context(|| format!("seed {seed}"))?;
        seed += 1;
    }
    print_line(format_args!("{} runs without a finding", seed - first));
    Ok(())
}

/// Prints the seed of a run that panics.
struct Reported(u64);

impl Drop for Reported {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_line(format_args!("repeat with --seed {}", self.0));
        }
    }
}

/// Decodes a stream with one damage, in pieces of random lengths.
fn check_stream<M: Message + PartialEq>(
    random: &mut Rng,
    message: fn(&mut Rng) -> M,
) -> anyhow::Result<()> {
    let (mut bytes, mut sent) = (header().to_vec(), Vec::new());
    for _ in 0..random.usize(..MAX_MESSAGES) {
        let message = message(random);
        message.encode(&mut bytes);
        sent.push((message, bytes.len()));
    }
    let damaged_at = damage(random, &mut bytes);

    let (mut decoder, mut received) = (Decoder::default(), Vec::new());
    let mut rest = bytes.as_slice();
    let mut is_valid = true;
    while is_valid && !rest.is_empty() {
        let (piece, later) = rest.split_at(random.usize(1..=rest.len()));
        rest = later;
        decoder.receive(piece);
        loop {
            match decoder.decode::<M>() {
                Ok(Some(message)) => received.push(message),
                Ok(None) => break,
                Err(_) => {
                    is_valid = false;
                    break;
                }
            }
        }
    }

    let intact = sent.iter().take_while(|(_, end)| *end <= damaged_at).map(|(message, _)| message);
    ensure!(
        intact.clone().eq(received.iter().take(intact.count())),
        "a message before the damage was lost"
    );
    for message in received {
        let mut bytes = header().to_vec();
        message.encode(&mut bytes);
        let mut decoder = Decoder::default();
        decoder.receive(&bytes);
        let again = decoder.decode::<M>().context("a received message has no valid encoding")?;
        ensure!(again == Some(message), "a received message changed when it was sent again");
    }
    Ok(())
}

/// Damages bytes, or leaves them. Returns the first position that may differ.
fn damage(random: &mut Rng, bytes: &mut Vec<u8>) -> usize {
    let at = random.usize(..bytes.len());
    match random.u8(..6) {
        0 => return bytes.len(),
        1 => bytes.truncate(at),
        2 => bytes[at] ^= 1 << random.u8(..8),
        3 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = random.u8(..)),
        4 => {
            let end = random.usize(at..bytes.len());
            bytes.drain(at..end);
        }
        _ => {
            let more: Vec<u8> = (0..random.usize(1..64)).map(|_| random.u8(..)).collect();
            bytes.splice(at..at, more);
        }
    }
    at
}

fn size(random: &mut Rng) -> Size {
    Size { cols: random.u16(..), rows: random.u16(..) }
}

fn bytes(random: &mut Rng) -> Vec<u8> {
    (0..random.usize(..MAX_PAYLOAD_BYTES)).map(|_| random.u8(..)).collect()
}

/// Returns a writer, which is not empty, and a number.
fn key(random: &mut Rng) -> (Box<[u8]>, u64) {
    ((0..random.usize(1..=255)).map(|_| random.u8(..)).collect(), random.u64(..))
}

fn request(random: &mut Rng) -> Request {
    match random.u8(..7) {
        0 => Request::Follow { offset: random.u64(..) },
        1 => Request::Acknowledge { offset: random.u64(..) },
        2 => {
            let key = random.bool().then(|| key(random));
            Request::Input(Input { number: random.u64(..), key, bytes: bytes(random) })
        }
        3 => Request::Cancel { number: random.u64(..) },
        4 => Request::Resize(size(random)),
        5 => Request::Signal { signal: random.i32(..) },
        _ => Request::HangUp,
    }
}

fn report(random: &mut Rng) -> Report {
    let offset = random.u64(..);
    match random.u8(..7) {
        0 => Report::Hello(Hello {
            pid: random.u32(..),
            oldest: random.u64(..),
            next: offset,
            size: size(random),
            writers: (0..random.usize(..4)).map(|_| key(random)).collect(),
        }),
        1 => Report::Output { offset, bytes: bytes(random) },
        2 => Report::Resized { offset, size: size(random) },
        3 => {
            let mut number = || random.bool().then(|| random.i32(..));
            let (code, signal) = (number(), number());
            Report::Exited { offset, exit: Exit { code, signal, is_out_of_memory: random.bool() } }
        }
        4 => Report::Written { number: offset },
        5 => Report::Refused { number: offset },
        _ => Report::Gap { offset },
    }
}

/// Writes a log, damages some of its segments, and reads it.
fn check_log(random: &mut Rng, directory: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        fs::remove_file(entry?.path())?;
    }
    let (mut next, mut written, mut intact) = (0, 0, Vec::new());
    for _ in 0..random.usize(1..=MAX_SEGMENTS) {
        let (start, mut segment) = (next, log::MAGIC.to_vec());
        for _ in 0..random.usize(1..=MAX_RECORDS) {
            let length = random.usize(1..MAX_PAYLOAD_BYTES) as u64;
            append(&mut segment, next, length);
            next += length;
            written += 1;
        }
        let length = segment.len();
        if damage(random, &mut segment) == length {
            intact.push(start..next);
        }
        fs::write(directory.join(format!("{start:020}-000000")), segment)?;
    }

    // Each record is returned at most once, so a reader that does not end is noticed.
    let from = if random.bool() { 0 } else { random.u64(..=next) };
    let (mut cursor, mut read) = (Cursor::new(directory, from), Vec::new());
    while let Some(record) = cursor.read()? {
        let Entry::Output(bytes) = record.entry else { continue };
        let end = record.offset + bytes.len() as u64;
        ensure!(record.offset >= read.last().map_or(from, |(_, end)| *end), "repeated output");
        ensure!(
            (record.offset..end).map(content).eq(bytes),
            "other output at {} than was written",
            record.offset
        );
        read.push((record.offset, end));
        ensure!(read.len() <= written, "more records than were written");
    }

    for segment in intact {
        let start = segment.start.max(from);
        let bytes = read
            .iter()
            .map(|(offset, end)| (*end).min(segment.end).saturating_sub((*offset).max(start)));
        ensure!(
            bytes.sum::<u64>() == segment.end.saturating_sub(start),
            "an intact segment from {} was not read in full",
            segment.start
        );
    }
    Ok(())
}

/// Returns the byte of output at an offset.
fn content(offset: u64) -> u8 {
    // The top bits of a product, which differ for neighbouring offsets.
    offset.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
}

/// Appends a record of output.
fn append(segment: &mut Vec<u8>, offset: u64, length: u64) {
    let payload: Vec<u8> = (offset..offset + length).map(content).collect();
    // Kind, time, offset.
    let mut checked = vec![1];
    checked.extend_from_slice(&0_u64.to_le_bytes());
    checked.extend_from_slice(&offset.to_le_bytes());
    checked.extend_from_slice(&payload);

    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    segment.extend_from_slice(&length.to_le_bytes());
    segment.extend_from_slice(&crc32fast::hash(&checked).to_le_bytes());
    segment.extend_from_slice(&checked);
}
