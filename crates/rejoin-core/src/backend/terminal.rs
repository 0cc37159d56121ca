//! Live terminals: a program on a PTY, wherever and by whomever it is held.
//!
//! Output is read in order and paused by not reading; input is numbered, and reported once it
//! is written; so a process that outlives the server can stand behind the same trait.

use std::fmt;

use bytes::Bytes;
use rejoin_protocol::{Exit, SessionId, Signal, TerminalSize};
use tokio::sync::{mpsc, watch};

use crate::{access::Author, backend::BoxFuture};

/// Starts terminals.
pub trait Terminals: fmt::Debug + Send + Sync {
    /// Starts a program on a new PTY.
    fn start(&self, launch: Launch) -> BoxFuture<'_, Result<LiveTerminal, StartError>>;
}

/// What to start. The command comes from a profile, never from a request.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The session that it is for.
    pub session: SessionId,
    /// The program and its arguments; `$NAME` stands for an environment variable.
    pub command: Vec<String>,
    /// Environment variables besides the ordinary ones.
    pub env: Vec<(String, String)>,
    /// Where it starts; the home directory if nobody says.
    pub cwd: Option<String>,
    /// The first size.
    pub size: TerminalSize,
    /// What to do about a command that does not exist, for the one who asked.
    pub install_hint: Option<String>,
}

/// Why a program could not be started; the sentence is for the one who asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// A program that runs on a PTY.
#[derive(Debug)]
pub struct LiveTerminal {
    /// What happens, in order; not reading pauses the program.
    pub events: mpsc::Receiver<TerminalEvent>,
    /// What to do; a full queue refuses, and is never waited for.
    pub controls: mpsc::Sender<Control>,
    /// Ends the program once it is true or dropped: hang up, and kill what does not go. Not in
    /// `controls`, so that a full queue never delays it.
    pub hangup: watch::Sender<bool>,
    /// The number of the last input that was written whole.
    pub written: watch::Receiver<u64>,
}

/// What a terminal tells.
#[derive(Debug)]
pub enum TerminalEvent {
    /// The next output.
    Output(Bytes),
    /// The program has ended and all its output was told.
    Exit(Exit),
}

/// What a terminal is told.
#[derive(Debug)]
pub enum Control {
    /// Type this.
    Input {
        /// Its number, from 1 without holes.
        number: u64,
        /// What to type.
        bytes: Bytes,
        /// Who typed it. Input whose author [may not write](Author::may_write) any more is
        /// dropped when its turn comes, and reported as written.
        author: Author,
    },
    /// Change the size.
    Resize(TerminalSize),
    /// Send the program, and those that it runs in the foreground, a signal.
    Signal(Signal),
}
