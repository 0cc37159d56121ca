//! The task of a terminal: passes the keeper's reports to the session, and controls to the keeper.

mod end;

use std::{collections::VecDeque, process::Child, sync::Arc, time::Duration};

use rejoin_core::{Control, LiveTerminal, TerminalEnds, TerminalEvent};
use rejoin_keeper::{
    Directory,
    log::{Entry, Record},
    wire::{Report, Request, Size},
};
use rejoin_protocol::{Signal, TerminalSize};
use rustix::process;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{Instant, sleep_until},
};
use tracing::warn;

use super::{
    Shared,
    connection::Connection,
    disk::DiskShare,
    files,
    input::{InputLine, QueuedInput},
};
use crate::program::exit;

/// The capacity of the event queue.
const EVENTS: usize = 16;
/// The capacity of the control queue: more than the 4096 inputs that a session sends ahead, so that
/// only the session's bounds refuse input. The queue allocates as it fills.
const CONTROLS: usize = 4096 + 256;
/// The amount of output waiting for the session, in bytes, above which the keeper is not read. It
/// exceeds the keeper's own window, so that reports on input are read while output is waiting.
const MAX_PENDING_BYTES: usize = 1024 * 1024;
/// The number of events waiting for the session above which the keeper is not read.
const MAX_PENDING_EVENTS: usize = 4096;
/// The amount of output after which the keeper gets an acknowledgement, in bytes.
const ACKNOWLEDGE_BYTES: u64 = 64 * 1024;
/// The time within which a program and its keeper must end after a hang-up. After that, the keeper
/// is killed.
const HANG_UP: Duration = Duration::from_secs(5);
/// The maximum duration of a replay of earlier output. After it, the session becomes visible.
const REPLAY: Duration = Duration::from_secs(10);

/// The task's side of a terminal.
pub(super) struct Terminal {
    shared: Arc<Shared>,
    directory: Directory,
    /// The keeper's process, if this process has started it.
    pub(super) process: Option<Child>,
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// The disk space of the log and of the kept screen, until the directory is removed.
    pub(super) log_space: Option<DiskShare>,
    pub(super) screen_space: Option<DiskShare>,
    /// `None` if the keeper has ended.
    pub(super) connection: Option<Connection>,
    /// The offset at which the replay ends.
    pub(super) replay_until: Option<u64>,
    /// The offset after the output that was received.
    next: u64,
    /// The offset of the last acknowledgement.
    acknowledged: u64,
    pending: VecDeque<TerminalEvent>,
    pending_bytes: usize,
    /// The exit has been received.
    has_ended: bool,
    /// The session accepts no more events.
    is_discarding: bool,
}

/// The session's side of the queues.
struct Ends {
    events: mpsc::Sender<TerminalEvent>,
    controls: mpsc::Receiver<Control>,
    /// `false` once the session has dropped its sender of controls.
    has_controls: bool,
    hangup: watch::Receiver<bool>,
    input: InputLine,
    kill_at: Option<Instant>,
    replayed_at: Option<Instant>,
}

impl Terminal {
    /// Creates the task of a terminal whose events start at `offset`.
    pub(super) fn new(shared: Arc<Shared>, directory: Directory, offset: u64) -> Self {
        Self {
            shared,
            directory,
            process: None,
            permit: None,
            log_space: None,
            screen_space: None,
            connection: None,
            replay_until: None,
            next: offset,
            acknowledged: offset,
            pending: VecDeque::new(),
            pending_bytes: 0,
            has_ended: false,
            is_discarding: false,
        }
    }

    /// Starts the task and returns the session's side.
    pub(super) fn run(mut self) -> LiveTerminal {
        let (live, TerminalEnds { events, controls, hangup, written }) =
            LiveTerminal::new(EVENTS, CONTROLS);
        // A capacity of one: while a screen is being written, the next one is not created yet.
        let (checkpoints, checkpoints_rx) = mpsc::channel(1);
        let mut ends = Ends {
            events,
            controls,
            has_controls: true,
            hangup,
            input: InputLine::new(written),
            kill_at: None,
            replayed_at: self.replay_until.map(|_| Instant::now() + REPLAY),
        };

        let shutdown = self.shared.shutdown.clone();
        let space = self.screen_space.take().or_else(|| Some(self.log_space.as_ref()?.another()));
        let writer = files::write_screens(self.directory.clone(), space, checkpoints_rx);
        let writer = shutdown.spawn(writer);
        shutdown.spawn(async move {
            self.check_replayed();
            if self.serve(&mut ends).await && self.read_rest(&mut ends).await {
                self.wait_for_release(&mut ends, writer).await;
            }
        });

        LiveTerminal { checkpoints: Some(checkpoints), reports_sizes: true, ..live }
    }

    /// Serves the session until the connection to the keeper ends. Returns `false` if the server
    /// stops, which leaves the keeper running.
    async fn serve(&mut self, ends: &mut Ends) -> bool {
        let Some(mut connection) = self.connection.take() else { return true };
        let events = ends.events.clone();
        let mut is_open = true;
        while is_open || !self.pending.is_empty() {
            while is_open && let Some(request) = ends.input.next() {
                connection.send(&request);
            }
            if is_open && connection.flush().is_err() {
                // Rechecks the loop: if it is over, nothing would wake the wait below.
                is_open = false;
                continue;
            }

            let tick = ends.tick();
            // Each branch is cancel safe: readiness, channels, a timer.
            tokio::select! {
                // Does not read while the session lags: the keeper then pauses the program.
                ready = connection.readable(), if is_open && self.has_room() => {
                    is_open = ready.is_ok() && self.receive(&mut connection, ends);
                }
                ready = connection.writable(), if is_open && connection.has_unsent() => {
                    is_open = ready.is_ok();
                }
                permit = events.reserve(), if !self.pending.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(event) = self.pending.pop_front() {
                            self.pending_bytes -= output_length(&event);
                            permit.send(event);
                        }
                        self.acknowledge(&mut connection);
                    }
                    Err(_) => self.discard(),
                },
                control = ends.controls.recv(), if ends.has_controls && connection.has_room() => {
                    handle_control(control, ends, &mut connection);
                }
                is_closed = hung_up(&mut ends.hangup), if ends.kill_at.is_none() => {
                    // A stop of the server drops the session, and the program must outlive it.
                    if !is_closed && self.shared.shutdown.has_begun() {
                        return false;
                    }
                    connection.send(&Request::HangUp);
                    ends.kill_at = Some(Instant::now() + HANG_UP);
                }
                () = sleep_until(tick.unwrap_or_else(Instant::now)), if tick.is_some() => {
                    self.handle_deadlines(ends, &connection);
                }
            }
        }
        true
    }

    fn has_room(&self) -> bool {
        self.pending_bytes < MAX_PENDING_BYTES && self.pending.len() < MAX_PENDING_EVENTS
    }

    /// Receives reports. Returns `false` once no more will follow.
    fn receive(&mut self, connection: &mut Connection, ends: &mut Ends) -> bool {
        let is_open = connection.receive().unwrap_or(false);
        loop {
            match connection.next_report() {
                Ok(Some(report)) => self.handle_report(report, &mut ends.input),
                Ok(None) => return is_open && !self.has_ended,
                Err(error) => {
                    warn!(%error, "a keeper sent invalid bytes");
                    return false;
                }
            }
        }
    }

    fn handle_report(&mut self, report: Report, input: &mut InputLine) {
        match report {
            Report::Output { offset, bytes } => {
                self.queue_record(Record { offset, entry: Entry::Output(bytes) });
            }
            Report::Resized { offset, size } => {
                self.queue_record(Record { offset, entry: Entry::Resized(size) });
            }
            Report::Exited { offset, exit } => {
                self.queue_record(Record { offset, entry: Entry::Exited(exit) });
            }
            Report::Written { number } => input.handle_written(number),
            Report::Refused { number } => input.handle_refused(number),
            Report::Gap { offset } => {
                self.skip_to(offset);
                self.check_replayed();
            }
            Report::Hello(_) => {}
        }
    }

    /// Queues the event of a record, preceded by any gap before it.
    fn queue_record(&mut self, record: Record) {
        let Record { offset, entry } = record;
        self.skip_to(offset);
        match entry {
            Entry::Output(bytes) => {
                self.next += bytes.len() as u64;
                self.queue(TerminalEvent::Output(bytes.into()));
            }
            Entry::Resized(Size { cols, rows }) => {
                if let Some(size) = TerminalSize::new(cols, rows) {
                    self.queue(TerminalEvent::Resized(size));
                }
            }
            Entry::Exited(ended) => {
                self.has_ended = true;
                self.end_replay();
                let exit = exit(ended.code, ended.signal);
                self.queue(if ended.is_out_of_memory {
                    TerminalEvent::OutOfMemory(exit)
                } else {
                    TerminalEvent::Exit(exit)
                });
            }
        }
        self.check_replayed();
    }

    /// Queues a gap if `offset` is not the next one, because the log has lost the output before it.
    fn skip_to(&mut self, offset: u64) {
        if offset > self.next {
            files::log_lost_output(&self.directory, self.next, offset);
            self.next = offset;
            self.queue(TerminalEvent::Gap { offset });
        }
    }

    fn queue(&mut self, event: TerminalEvent) {
        if !self.is_discarding {
            self.pending_bytes += output_length(&event);
            self.pending.push_back(event);
        }
    }

    fn check_replayed(&mut self) {
        if self.replay_until.is_some_and(|until| until <= self.next) {
            self.end_replay();
        }
    }

    fn end_replay(&mut self) {
        if self.replay_until.take().is_some() {
            self.queue(TerminalEvent::Replayed);
        }
    }

    /// Acknowledges output that the session has taken, so that the program is not paused.
    fn acknowledge(&mut self, connection: &mut Connection) {
        // A pending gap counts as taken, because it has no bytes.
        let offset = self.next - self.pending_bytes as u64;
        if offset >= self.acknowledged + ACKNOWLEDGE_BYTES {
            self.acknowledged = offset;
            connection.send(&Request::Acknowledge { offset });
        }
    }

    fn discard(&mut self) {
        self.is_discarding = true;
        self.pending.clear();
        self.pending_bytes = 0;
    }

    fn handle_deadlines(&mut self, ends: &mut Ends, connection: &Connection) {
        let now = Instant::now();
        if ends.kill_at.is_some_and(|at| at <= now) {
            warn!(directory = %self.directory.path().display(), "a keeper did not end; killing it");
            connection.kill();
            // Repeats the kill if the process is still there, for example in uninterruptible sleep.
            ends.kill_at = Some(now + HANG_UP);
        }
        if ends.replayed_at.take_if(|at| *at <= now).is_some() {
            self.end_replay();
        }
    }
}

impl Ends {
    /// Returns the time of the next deadline.
    fn tick(&self) -> Option<Instant> {
        let times = [self.input.check_at(), self.kill_at, self.replayed_at];
        times.into_iter().flatten().min()
    }
}

fn handle_control(control: Option<Control>, ends: &mut Ends, connection: &mut Connection) {
    match control {
        Some(Control::Input { number, bytes, key, author }) => {
            ends.input.push(QueuedInput { number, bytes, key, author });
        }
        Some(Control::Resize(size)) => {
            let size = Size { cols: size.cols(), rows: size.rows() };
            connection.send(&Request::Resize(size));
        }
        Some(Control::Signal(signal)) => {
            connection.send(&Request::Signal { signal: number(signal) });
        }
        Some(Control::End) => connection.send(&Request::HangUp),
        None => ends.has_controls = false,
    }
}

/// Waits until the terminal must be hung up. Returns `false` if the session has dropped it. Cancel
/// safe.
async fn hung_up(hangup: &mut watch::Receiver<bool>) -> bool {
    hangup.wait_for(|hung_up| *hung_up).await.is_ok()
}

fn output_length(event: &TerminalEvent) -> usize {
    if let TerminalEvent::Output(bytes) = event { bytes.len() } else { 0 }
}

/// Returns the system's number of a signal.
fn number(signal: Signal) -> i32 {
    let signal = match signal {
        Signal::SigHup => process::Signal::HUP,
        Signal::SigInt => process::Signal::INT,
        Signal::SigQuit => process::Signal::QUIT,
        Signal::SigTerm => process::Signal::TERM,
        Signal::SigKill => process::Signal::KILL,
        Signal::SigUsr1 => process::Signal::USR1,
        Signal::SigUsr2 => process::Signal::USR2,
        Signal::SigTstp => process::Signal::TSTP,
        Signal::SigCont => process::Signal::CONT,
    };
    signal.as_raw()
}
