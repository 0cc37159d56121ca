//! The screen of a session, and the thread that works on it when that takes long.

use std::{collections::VecDeque, fmt, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use rejoin_protocol::TerminalSize;
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};
use tracing::error;

use crate::{backend::Screen, shutdown::Shutdown, stream::Snapshot};

/// The longest that one screen is worked on before others have their turn.
const TURN: Duration = Duration::from_millis(2);

/// Work on a screen that has interpreted all output.
pub(super) type Job = Box<dyn FnOnce(&dyn Screen) -> Option<Snapshot> + Send>;

/// The threads that work on screens, for all sessions together.
///
/// There are fewer than processors, so that screens leave one to the rest of the server. Waiting
/// sessions have their turns in the order in which they came.
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

/// A screen that is here, or away on a thread.
pub(super) struct ScreenWorker {
    threads: ScreenThreads,
    shutdown: Shutdown,
    place: Place,
}

enum Place {
    Here(Box<dyn Screen>),
    Away(JoinHandle<Option<Done>>),
    /// Its thread has failed, or the server stops.
    Lost,
}

/// A screen after its work, and what came of it.
type Done = (Box<dyn Screen>, Option<Snapshot>);

/// What a screen has to do, in this order.
#[derive(Default)]
struct Work {
    size: Option<TerminalSize>,
    output: VecDeque<Bytes>,
    job: Option<Job>,
}

impl ScreenWorker {
    pub(super) fn new(screen: Box<dyn Screen>, threads: ScreenThreads, shutdown: Shutdown) -> Self {
        Self { threads, shutdown, place: Place::Here(screen) }
    }

    /// The screen, unless it is away.
    pub(super) fn screen(&mut self) -> Option<&mut dyn Screen> {
        match &mut self.place {
            Place::Here(screen) => Some(&mut **screen),
            Place::Away(_) | Place::Lost => None,
        }
    }

    pub(super) fn is_away(&self) -> bool {
        matches!(self.place, Place::Away(_))
    }

    /// Interprets output: a little at once, more away from here. The screen must be here.
    pub(super) fn feed(&mut self, output: Vec<Bytes>) {
        let Some(screen) = self.screen() else { return };
        let mut output = VecDeque::from(output);
        // The echo of a key takes less than handing it to a thread.
        if let Some(first) = output.pop_front()
            && let Some(rest) = screen.step(&first)
        {
            output.push_front(first.slice_ref(rest));
        } else if output.is_empty() {
            return;
        }
        self.send(Work { output, ..Work::default() });
    }

    /// Changes the size away from here. The screen must be here.
    pub(super) fn resize(&mut self, size: TerminalSize) {
        // The change goes on in the steps for no output.
        let output = VecDeque::from([Bytes::new()]);
        self.send(Work { size: Some(size), output, ..Work::default() });
    }

    /// Does a job away from here. The screen must be here.
    pub(super) fn start(&mut self, job: Job) {
        self.send(Work { job: Some(job), ..Work::default() });
    }

    /// Waits for the screen to come back, with what came of its job; `None` if it is lost.
    ///
    /// Cancel safe. Waits forever if the screen is here.
    pub(super) async fn done(&mut self) -> Option<Option<Snapshot>> {
        let Place::Away(task) = &mut self.place else { return std::future::pending().await };
        let done = task.await;
        self.place = Place::Lost;
        match done {
            Ok(Some((screen, snapshot))) => {
                self.place = Place::Here(screen);
                return Some(snapshot);
            }
            Ok(None) => {}
            Err(error) => error!(%error, "a screen was lost"),
        }
        None
    }

    fn send(&mut self, work: Work) {
        match mem::replace(&mut self.place, Place::Lost) {
            Place::Here(screen) => {
                let (threads, shutdown) = (self.threads.clone(), self.shutdown.clone());
                let task = self.shutdown.spawn(take_turns(screen, work, threads, shutdown));
                self.place = Place::Away(task);
            }
            other => self.place = other,
        }
    }
}

impl fmt::Debug for ScreenWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScreenWorker").field("is_away", &self.is_away()).finish_non_exhaustive()
    }
}

/// Works on a screen turn by turn until all is done, or the server stops.
async fn take_turns(
    mut screen: Box<dyn Screen>,
    mut work: Work,
    threads: ScreenThreads,
    shutdown: Shutdown,
) -> Option<Done> {
    loop {
        if shutdown.has_begun() {
            return None;
        }
        // Given back after each turn, so that those who wait come first.
        let _turn = threads.turns.acquire().await.ok()?;
        let turn = spawn_blocking(move || {
            let result = work.turn(&mut *screen);
            (screen, work, result)
        });
        let result;
        (screen, work, result) = match turn.await {
            Ok(outcome) => outcome,
            Err(error) => {
                error!(%error, "a screen was lost");
                return None;
            }
        };
        if let Some(snapshot) = result {
            return Some((screen, snapshot));
        }
    }
}

impl Work {
    /// Works for a turn; returns the outcome when all is done.
    fn turn(&mut self, screen: &mut dyn Screen) -> Option<Option<Snapshot>> {
        let until = Instant::now() + TURN;
        if let Some(size) = self.size.take() {
            screen.resize(size);
        }
        while let Some(output) = self.output.pop_front() {
            if let Some(rest) = screen.step(&output) {
                self.output.push_front(output.slice_ref(rest));
            }
            if Instant::now() >= until && !self.output.is_empty() {
                return None;
            }
        }
        let job = self.job.take();
        Some(job.and_then(|job| job(screen)))
    }
}
