//! The screen of a session, and the threads that work on screens.

use std::{collections::VecDeque, fmt, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use rejoin_protocol::TerminalSize;
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};
use tracing::error;

use crate::{
    backend::{Screen, ScreenPieces},
    shutdown::Shutdown,
    stream::Snapshot,
};

/// The longest work on one screen before other screens get their turn.
const TURN: Duration = Duration::from_millis(2);

/// A job on a screen that has interpreted all output.
pub(super) type ScreenJob = Box<dyn FnOnce(&dyn Screen) -> Option<Snapshot> + Send>;

/// The threads that work on the screens of all sessions.
///
/// One fewer than processors, so that screens leave one to the rest of the server. Sessions get
/// their turns in the order of their requests.
#[derive(Clone, Debug)]
pub(crate) struct ScreenThreads {
    turns: Arc<Semaphore>,
}

impl Default for ScreenThreads {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { turns: Arc::new(Semaphore::new(processors.saturating_sub(1).max(1))) }
    }
}

/// A screen, with the task that works on it.
pub(super) struct ScreenWorker {
    threads: ScreenThreads,
    shutdown: Shutdown,
    phase: ScreenPhase,
}

enum ScreenPhase {
    Idle(Box<dyn Screen>),
    Busy(JoinHandle<Option<Finished>>),
    /// The work panicked, or the server is stopping.
    Lost,
}

/// A screen after its work, and the result of the job.
type Finished = (Box<dyn Screen>, Option<Snapshot>);

/// The work on a screen, in the order of the fields.
#[derive(Default)]
struct Work {
    size: Option<TerminalSize>,
    /// A kept screen to interpret.
    kept: Option<ScreenPieces>,
    output: VecDeque<Bytes>,
    job: Option<ScreenJob>,
}

impl ScreenWorker {
    pub(super) fn new(screen: Box<dyn Screen>, threads: ScreenThreads, shutdown: Shutdown) -> Self {
        Self { threads, shutdown, phase: ScreenPhase::Idle(screen) }
    }

    /// Returns the screen if it is idle.
    pub(super) fn screen(&mut self) -> Option<&mut dyn Screen> {
        match &mut self.phase {
            ScreenPhase::Idle(screen) => Some(&mut **screen),
            ScreenPhase::Busy(_) | ScreenPhase::Lost => None,
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(self.phase, ScreenPhase::Busy(_))
    }

    /// Interprets output: one step at once, the rest on a thread. The screen must be idle.
    pub(super) fn feed(&mut self, output: Vec<Bytes>) {
        let Some(screen) = self.screen() else { return };
        let mut output = VecDeque::from(output);

        // The echo of a key takes less time than its transfer to a thread.
        if let Some(first) = output.pop_front()
            && let Some(rest) = screen.step(&first)
        {
            output.push_front(first.slice_ref(rest));
        } else if output.is_empty() {
            return;
        }

        self.start_work(Work { output, ..Work::default() });
    }

    /// Interprets a kept screen on a thread. The screen must be idle.
    pub(super) fn restore(&mut self, kept: ScreenPieces) {
        self.start_work(Work { kept: Some(kept), ..Work::default() });
    }

    /// Changes the size on a thread. The screen must be idle.
    pub(super) fn resize(&mut self, size: TerminalSize) {
        // Steps of empty output continue the change.
        let output = VecDeque::from([Bytes::new()]);
        self.start_work(Work { size: Some(size), output, ..Work::default() });
    }

    /// Runs a job on a thread. The screen must be idle.
    pub(super) fn start(&mut self, job: ScreenJob) {
        self.start_work(Work { job: Some(job), ..Work::default() });
    }

    /// Waits until the screen is idle, and returns the job's result; `None` if the screen is lost.
    ///
    /// Cancel safe. Waits forever if the screen is not busy.
    pub(super) async fn finished(&mut self) -> Option<Option<Snapshot>> {
        let ScreenPhase::Busy(task) = &mut self.phase else { return std::future::pending().await };
        let finished = task.await;

        // If the work has panicked, the screen is gone with it.
        self.phase = ScreenPhase::Lost;
        match finished {
            Ok(Some((screen, snapshot))) => {
                self.phase = ScreenPhase::Idle(screen);
                return Some(snapshot);
            }
            Ok(None) => {}
            Err(error) => error!(%error, "the work on a screen panicked"),
        }

        None
    }

    fn start_work(&mut self, work: Work) {
        match mem::replace(&mut self.phase, ScreenPhase::Lost) {
            ScreenPhase::Idle(screen) => {
                let (threads, shutdown) = (self.threads.clone(), self.shutdown.clone());
                let task = self.shutdown.spawn(take_turns(screen, work, threads, shutdown));
                self.phase = ScreenPhase::Busy(task);
            }
            other => self.phase = other,
        }
    }
}

impl fmt::Debug for ScreenWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScreenWorker").field("is_busy", &self.is_busy()).finish_non_exhaustive()
    }
}

/// Works on a screen turn by turn until the work is done or the server stops.
async fn take_turns(
    mut screen: Box<dyn Screen>,
    mut work: Work,
    threads: ScreenThreads,
    shutdown: Shutdown,
) -> Option<Finished> {
    loop {
        if shutdown.has_begun() {
            return None;
        }

        // Released after each turn, so that waiting sessions are next.
        let _turn = threads.turns.acquire().await.ok()?;
        // Interpreting is CPU work: on a runtime thread it would delay connections.
        let turn = spawn_blocking(move || {
            let result = work.turn(&mut *screen);
            (screen, work, result)
        });

        let result;
        (screen, work, result) = match turn.await {
            Ok(outcome) => outcome,
            Err(error) => {
                error!(%error, "the work on a screen panicked");
                return None;
            }
        };
        if let Some(snapshot) = result {
            return Some((screen, snapshot));
        }
    }
}

impl Work {
    /// Works for one turn. Returns the job's result once all work is done.
    fn turn(&mut self, screen: &mut dyn Screen) -> Option<Option<Snapshot>> {
        // Checked between steps, each of which is short.
        let until = Instant::now() + TURN;
        if let Some(size) = self.size.take() {
            screen.resize(size);
        }

        while let Some(output) = self.next_output() {
            if let Some(rest) = screen.step(&output) {
                self.output.push_front(output.slice_ref(rest));
            }
            if Instant::now() >= until && (!self.output.is_empty() || self.kept.is_some()) {
                return None;
            }
        }

        let job = self.job.take();
        Some(job.and_then(|job| job(screen)))
    }

    /// Takes the next output: the pieces of the kept screen first, one at a time.
    fn next_output(&mut self) -> Option<Bytes> {
        if self.output.is_empty() {
            let piece = self.kept.as_mut().and_then(Iterator::next);
            if piece.is_none() {
                self.kept = None;
            }
            self.output.extend(piece.map(Bytes::from));
        }
        self.output.pop_front()
    }
}
