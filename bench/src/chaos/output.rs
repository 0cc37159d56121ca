//! The output and the keys of the program, which both sides compute.

use std::fs;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fastrand::Rng;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::clock;

/// The length of a line, with its end.
const LINE_BYTES: usize = 64;
/// The lines after which the output repeats. Their bytes are no multiple of any buffer's size.
const LINES: usize = 15_383;
/// The program prints so many bytes without a pause, and then so many slowly. Viewers resume after a
/// crash in a slow phase, and get the newest screen in the other.
const PHASE_BYTES: u64 = 8 * 1024 * 1024;
const SLOW_PHASE_BYTES: u64 = 2 * 1024 * 1024;
/// The pause after each write of a slow phase: about 2 MB/s.
const SLOW_PAUSE: Duration = Duration::from_millis(2);
/// The bytes of one write.
const WRITE_BYTES: usize = 64 * LINE_BYTES;
/// The last key.
pub(super) const LAST_KEY: &str = "end\n";
/// The exit code of the program.
pub(super) const EXIT_CODE: u8 = 7;
/// Files of the program in its folder.
pub(super) const KEYS_FILE: &str = "keys";
pub(super) const TOTAL_FILE: &str = "total";

/// The program's output.
pub(super) struct Output {
    /// The lines that repeat.
    block: Vec<u8>,
}

impl Output {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let mut block = Vec::with_capacity(LINES * LINE_BYTES);
        for number in 0..LINES {
            let line = format!("{number:06} {:016x} {:016x}", random.u64(..), random.u64(..));
            block.extend_from_slice(
                format!("{line:.<width$}\r\n", width = LINE_BYTES - 2).as_bytes(),
            );
        }
        Self { block }
    }

    /// Returns the bytes from `offset` to the end of the repetition.
    fn from(&self, offset: u64) -> &[u8] {
        let start = offset % self.block.len() as u64;
        &self.block[usize::try_from(start).unwrap_or(0)..]
    }

    /// Returns whether the program prints these bytes at `offset`.
    pub(super) fn has(&self, mut offset: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let expected = self.from(offset);
            let length = expected.len().min(bytes.len());
            if expected[..length] != bytes[..length] {
                return false;
            }

            bytes = &bytes[length..];
            offset += length as u64;
        }
        true
    }

    /// Returns the last `count` lines of an output of `total` bytes.
    pub(super) fn last_lines(&self, total: u64, count: u64) -> Vec<String> {
        let first = (total / LINE_BYTES as u64).saturating_sub(count);
        let lines = (first..total / LINE_BYTES as u64).map(|line| {
            let line = &self.from(line * LINE_BYTES as u64)[..LINE_BYTES - 2];
            String::from_utf8_lossy(line).into_owned()
        });
        lines.collect()
    }
}

/// Returns the key with a number, from 1.
pub(super) fn key(number: u64) -> String {
    format!("{number:09}\n")
}

/// Runs the program: prints, and records each key, until the last key.
pub(crate) fn program(seed: u64, folder: &Path) -> anyhow::Result<ExitCode> {
    let (input, mut screen) = (std::io::stdin(), std::io::stdout().lock());
    let mut settings = tcgetattr(&input)?;
    settings.make_raw();
    tcsetattr(&input, OptionalActions::Now, &settings)?;

    let has_ended = AtomicBool::new(false);
    let total = thread::scope(|scope| {
        let keys = scope.spawn(|| record_keys(&folder.join(KEYS_FILE), &has_ended));
        let output = Output::new(seed);
        let mut total = 0;
        while !has_ended.load(Ordering::Relaxed) {
            let chunk = output.from(total);
            let chunk = &chunk[..chunk.len().min(WRITE_BYTES)];
            screen.write_all(chunk)?;
            screen.flush()?;
            total += chunk.len() as u64;
            if total % (PHASE_BYTES + SLOW_PHASE_BYTES) >= PHASE_BYTES {
                clock::pause(SLOW_PAUSE);
            }
        }
        keys.join().ok().context("the reader of keys panicked")??;
        anyhow::Ok(total)
    })?;

    fs::write(folder.join(TOTAL_FILE), total.to_string())?;
    Ok(ExitCode::from(EXIT_CODE))
}

/// Appends each key to a file. Sets `has_ended` at the last key, or at the end of the input.
fn record_keys(path: &Path, has_ended: &AtomicBool) -> anyhow::Result<()> {
    let mut keys = File::create(path)?;
    let mut recorded = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let count = std::io::stdin().lock().read(&mut bytes);
        let count = count.inspect_err(|_| has_ended.store(true, Ordering::Relaxed))?;
        keys.write_all(&bytes[..count])?;
        recorded.extend_from_slice(&bytes[..count]);
        if count == 0 || recorded.ends_with(LAST_KEY.as_bytes()) {
            has_ended.store(true, Ordering::Relaxed);
            return Ok(());
        }
        recorded.drain(..recorded.len().saturating_sub(LAST_KEY.len()));
    }
}

/// Compares the keys that the program recorded with those that were typed: `typed` and the last.
///
/// # Errors
/// The first difference: a key is lost, repeated or out of order.
pub(super) fn check_keys(folder: &Path, typed: u64) -> anyhow::Result<()> {
    let recorded = fs::read_to_string(folder.join(KEYS_FILE))?;
    let mut recorded = recorded.split_inclusive('\n');
    for number in 1..=typed {
        let (expected, found) = (key(number), recorded.next().unwrap_or_default());
        ensure!(found == expected, "the program read {found:?} as key {number} of {typed}");
    }

    let rest: String = recorded.collect();
    ensure!(rest == LAST_KEY, "the program read {rest:?} after key {typed}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_and_other_places_are_noticed() {
        let output = Output::new(1);
        let length = output.block.len() as u64;
        let mut bytes = [output.from(length - 100), output.from(0)].concat();
        assert!(output.has(3 * length - 100, &bytes));
        assert!(!output.has(3 * length - 100 + LINE_BYTES as u64, &bytes));

        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        assert!(!output.has(length - 100, &bytes));
    }
}
