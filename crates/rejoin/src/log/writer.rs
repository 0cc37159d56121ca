//! Log lines, queued in memory and written to standard error by one thread.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    mem,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tracing::warn;

/// Bound of the queue, in bytes: several thousand lines. The batch that is being written has the
/// same bound.
const QUEUE_BYTES: usize = 1024 * 1024;
/// Largest write, in bytes: the capacity of a pipe, so that a slow reader's progress is visible.
const WRITE_BYTES: usize = 64 * 1024;
/// Shortest time between two batches. Lines that are logged within it share one write.
const INTERVAL: Duration = Duration::from_millis(10);
/// Time limit of a flush without progress.
pub(crate) const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// A handle to the queue of lines. Logging never waits for the output.
///
/// The writer thread runs until the process ends.
#[derive(Clone)]
pub(super) struct Writer(Arc<Shared>);

/// The state that the loggers share with the writer thread.
pub(super) struct Shared {
    /// Held to copy a line and to take a batch, never during a write.
    state: Mutex<State>,
    /// Wakes the writer thread: the queue has a first line, is half full, or must be flushed.
    queued: Condvar,
    /// Wakes [`Writer::flush`] after each write and each batch.
    written: Condvar,
}

#[derive(Default)]
struct State {
    /// Complete lines in order, at most [`QUEUE_BYTES`].
    queue: Vec<u8>,
    /// A batch is not written completely.
    is_writing: bool,
    /// [`Writer::flush`] was called: the writer thread no longer pauses between batches.
    is_flushing: bool,
    /// Successful writes.
    writes: u64,
    /// Lost lines that no warning has reported yet.
    unreported: u64,
    /// All lost lines.
    lost: u64,
}

impl Writer {
    /// Starts the writer thread.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            queued: Condvar::new(),
            written: Condvar::new(),
        });
        let thread_shared = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || thread_shared.run(output))?;
        Ok(Self(shared))
    }

    /// Returns the sink for [`tracing_subscriber::fmt::Layer::with_writer`]: one call, one line.
    pub(super) fn sink(&self) -> Arc<Shared> {
        Arc::clone(&self.0)
    }

    /// Queues a line, or counts it as lost if the queue is full.
    pub(super) fn push(&self, line: &str) {
        self.0.push(line.as_bytes());
    }

    /// Returns the number of lost lines.
    pub(super) fn lost(&self) -> u64 {
        self.0.state.lock().lost
    }

    /// Blocks until all queued lines are written, or nothing is written for [`FLUSH_TIMEOUT`].
    pub(super) fn flush(&self) {
        let mut state = self.0.state.lock();
        state.is_flushing = true;
        self.0.queued.notify_one();

        loop {
            if state.queue.is_empty() && !state.is_writing {
                return;
            }

            // A slow reader is waited for as long as it takes any lines at all.
            let writes = state.writes;
            let waited = self.0.written.wait_for(&mut state, FLUSH_TIMEOUT);
            if waited.timed_out() && state.writes == writes {
                return;
            }
        }
    }
}

impl Shared {
    fn push(&self, line: &[u8]) {
        let mut state = self.state.lock();
        let before = state.queue.len();
        let after = before + line.len();
        if after > QUEUE_BYTES {
            state.lose(1);
            return;
        }

        state.queue.extend_from_slice(line);
        drop(state);

        // Not at each line: between these two the thread is awake, or waits for the next batch.
        let becomes_urgent = before < QUEUE_BYTES / 2 && after >= QUEUE_BYTES / 2;
        if before == 0 || becomes_urgent {
            self.queued.notify_one();
        }
    }

    fn run(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        let mut not_before = Instant::now();
        let mut is_working = true;
        loop {
            let mut state = self.wait_for_batch(not_before);
            mem::swap(&mut state.queue, &mut batch);
            state.is_writing = true;
            // While the output is broken, each warning would be lost and cause the next one.
            let lost = if is_working { mem::take(&mut state.unreported) } else { 0 };
            drop(state);
            not_before = Instant::now() + INTERVAL;

            // The queue was just emptied, so the warning takes the place of the lost lines.
            if lost > 0 {
                warn!(lines = lost, "log lines were lost: standard error was too slow or broken");
            }
            is_working = self.write(&batch, &mut output);
            // Releases the memory of a burst.
            batch.clear();
            batch.shrink_to(WRITE_BYTES);

            self.state.lock().is_writing = false;
            self.written.notify_all();
        }
    }

    /// Waits for a line, and then until `not_before` unless the queue is urgent.
    fn wait_for_batch(&self, not_before: Instant) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        while state.queue.is_empty() {
            self.queued.wait(&mut state);
        }

        while !state.is_urgent() {
            if self.queued.wait_until(&mut state, not_before).timed_out() {
                break;
            }
        }
        state
    }

    /// Writes a batch. Returns `false` if the output is broken and lines are lost.
    fn write(&self, batch: &[u8], output: &mut impl Write) -> bool {
        let mut rest = batch;
        while !rest.is_empty() {
            let length = match output.write(&rest[..rest.len().min(WRITE_BYTES)]) {
                Ok(length) if length > 0 => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Another process can make a shared terminal non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.queued.wait_for(&mut self.state.lock(), INTERVAL);
                    continue;
                }
                Ok(_) | Err(_) => {
                    let lines = rest.iter().filter(|byte| **byte == b'\n').count();
                    self.state.lock().lose(lines as u64);
                    return false;
                }
            };

            rest = &rest[length..];
            self.state.lock().writes += 1;
            self.written.notify_all();
        }
        true
    }
}

impl Write for &Shared {
    /// Accepts the whole line even if it is lost: tracing prints a short write to standard error.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    fn is_urgent(&self) -> bool {
        self.is_flushing || self.queue.len() >= QUEUE_BYTES / 2
    }

    fn lose(&mut self, lines: u64) {
        self.unreported += lines;
        self.lost += lines;
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}
