//! Live terminals: a program on a PTY, in this process or another one.
//!
//! Output is read in order, and not reading pauses the program. Input is numbered and reported
//! once it is written. So a process that outlives the server can implement the same trait.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rejoin_protocol::{Exit, SessionId, Signal, TerminalSize};
use tokio::sync::{mpsc, watch};

use crate::{
    backend::{InputKey, SavedScreen, ScreenCheckpoint, SessionRecord},
    connection::Author,
};

/// Starts terminals.
pub trait Terminals: fmt::Debug + Send + Sync {
    /// Starts a program on a new PTY.
    fn start(&self, launch: Launch) -> BoxFuture<'_, Result<LiveTerminal, StartError>>;

    /// Finds the terminals of earlier processes that this process has not found yet.
    fn recover(&self) -> BoxFuture<'_, Recovery> {
        Box::pin(async { Recovery::default() })
    }
}

/// A program to start. The command comes from a profile, never from a request.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The session of the terminal.
    pub record: SessionRecord,
    /// The program and its arguments; `$NAME` stands for an environment variable.
    pub command: Vec<String>,
    /// Environment variables in addition to the usual ones.
    pub env: Vec<(String, String)>,
    /// The working directory; `None` is the home directory.
    pub cwd: Option<String>,
    /// The initial size.
    pub size: TerminalSize,
    /// Advice for the user if the command does not exist.
    pub install_hint: Option<String>,
}

/// The reason why a program did not start, as a sentence for the user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// A program that runs on a PTY.
#[derive(Debug)]
pub struct LiveTerminal {
    /// Output and exit, in order. Not reading pauses the program.
    pub events: mpsc::Receiver<TerminalEvent>,
    /// Input, sizes and signals. A sender never waits for room: a full queue is a refusal.
    pub controls: mpsc::Sender<Control>,
    /// Hangs up once it is `true` or dropped, and then kills a program that stays. Separate from
    /// `controls`, so that a full queue never delays a hangup. A drop during the stop of the
    /// server leaves a terminal alone that outlives the server.
    pub hangup: watch::Sender<bool>,
    /// The number of the last input that was written completely.
    pub written: watch::Receiver<u64>,
    /// Keeps screens for the next process; `None` if the terminal ends with this process.
    pub checkpoints: Option<mpsc::Sender<ScreenCheckpoint>>,
    /// Changes of the size are reported as events, at their place in the output.
    pub reports_sizes: bool,
}

/// The other ends of the queues of a [`LiveTerminal`].
#[derive(Debug)]
pub struct TerminalEnds {
    /// The program's output and exit.
    pub events: mpsc::Sender<TerminalEvent>,
    /// The input, the sizes and the signals for the program.
    pub controls: mpsc::Receiver<Control>,
    /// `true` once the terminal is hung up, or dropped by its session.
    pub hangup: watch::Receiver<bool>,
    /// The number of the last input that was written completely.
    pub written: watch::Sender<u64>,
}

impl LiveTerminal {
    /// Creates a terminal that ends with this process, and the ends for the program's task.
    ///
    /// The queues hold `events` events and `controls` controls.
    #[must_use]
    pub fn new(events: usize, controls: usize) -> (Self, TerminalEnds) {
        let (events_tx, events) = mpsc::channel(events);
        let (controls, controls_rx) = mpsc::channel(controls);
        let (hangup, hangup_rx) = watch::channel(false);
        let (written_tx, written) = watch::channel(0);

        let live =
            Self { events, controls, hangup, written, checkpoints: None, reports_sizes: false };
        let ends = TerminalEnds {
            events: events_tx,
            controls: controls_rx,
            hangup: hangup_rx,
            written: written_tx,
        };
        (live, ends)
    }
}

/// A terminal of an earlier process.
#[derive(Debug)]
pub struct RecoveredTerminal {
    /// The facts about its session.
    pub record: SessionRecord,
    /// The last screen that was kept.
    pub screen: Option<SavedScreen>,
    /// The offset at which the events begin, at or before that of the screen.
    pub offset: u64,
    /// The size if there is no screen.
    pub size: TerminalSize,
    /// The last number of each writer of numbered input.
    pub writers: Vec<InputKey>,
    /// The terminal. [`Replayed`](TerminalEvent::Replayed) follows the output so far.
    pub live: LiveTerminal,
}

/// The terminals that were found after a start.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Terminals that answered, or that have ended.
    pub terminals: Vec<RecoveredTerminal>,
    /// The sessions of terminals that did not answer in time.
    pub unanswered: Vec<SessionId>,
}

/// An event of a terminal.
#[derive(Debug)]
pub enum TerminalEvent {
    /// The next output.
    Output(Bytes),
    /// The size has changed. Only from terminals that report sizes.
    Resized(TerminalSize),
    /// Output is missing.
    Gap {
        /// The offset of the next output.
        offset: u64,
    },
    /// All output before the start of this process was sent.
    Replayed,
    /// The program has ended. All its output precedes this event.
    Exit(Exit),
    /// The program exceeded its limit of memory and was killed. It follows all output.
    OutOfMemory(Exit),
    /// The terminal is lost, and how the program ended is not known.
    Lost {
        /// The reason, as a sentence for the user.
        reason: String,
    },
}

/// A command for a terminal.
#[derive(Debug)]
pub enum Control {
    /// Writes input to the program.
    Input {
        /// The number of the input: 1 for the first, without gaps.
        number: u64,
        /// The bytes to write.
        bytes: Bytes,
        /// The writer and its number, for which the input is typed once, also by the next process.
        key: Option<InputKey>,
        /// The author of the input. If the author [may not write](Author::may_write) any more
        /// when it is the input's turn, the input is dropped and reported as written.
        author: Author,
    },
    /// Changes the size.
    Resize(TerminalSize),
    /// Sends a signal to the program and its foreground processes.
    Signal(Signal),
    /// Ends the program: a hang-up, and a kill if it stays. Its output and its exit follow, and the
    /// terminal remains until `hangup`.
    End,
}
