//! The two loops of a running program: one reads its PTY, one writes to it.

use std::{
    collections::VecDeque,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    time::Duration,
};

use bytes::{Buf, Bytes};
use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use rejoin_core::{Author, Control, TerminalEnds, TerminalEvent};
use rejoin_protocol::{self as protocol, Exit};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Child,
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::debug;

use crate::{program::exit, terminal::launch::StartedProgram};

/// The maximum size of a read, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// The time between a hang-up and the kill of a program that ignores it.
const HANGUP_GRACE: Duration = Duration::from_secs(2);
/// The maximum amount of output to read after the program's exit, in bytes.
///
/// It exceeds what a terminal can hold, so any further output was written after the exit.
const MAX_REMAINING_BYTES: usize = 64 * 1024;
/// The silence after which output of left-behind children is no longer awaited.
const LATE_OUTPUT_SILENCE: Duration = Duration::from_millis(50);
/// The total time for which output of left-behind children is read.
const LATE_OUTPUT_LIMIT: Duration = Duration::from_secs(1);

/// Runs until the program has ended and all its output was sent.
pub(super) async fn run(
    program: StartedProgram,
    TerminalEnds { events, controls, hangup, written }: TerminalEnds,
) {
    let StartedProgram { pty, direct, keep_open, child } = program;
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let (ended_tx, ended_rx) = watch::channel(());
    let (read_pty, write_pty) = pty.into_split();
    let targets = SignalTargets { terminal: direct.try_clone().ok(), group };

    let write = write_loop(write_pty, targets, Commands { controls, hangup }, written, ended_rx);
    let read = async move {
        let source = OutputSource { pty: read_pty, direct, keep_open };
        let exit = read_loop(source, child, &events).await;
        debug!(?exit, "program exited");
        // A failure means that the session is gone, so no receiver needs the exit.
        let _ = events.send(TerminalEvent::Exit(exit)).await;
        // Ends the write loop.
        drop(ended_tx);
    };

    tokio::join!(read, write);
}

/// The read side of a PTY; the fields are those of [`StartedProgram`].
struct OutputSource {
    pty: OwnedReadPty,
    direct: OwnedFd,
    keep_open: OwnedFd,
}

/// Reads until the program ends, and returns how it ended.
///
/// A full event queue stops the reads, so the terminal fills up and the kernel pauses the program.
async fn read_loop(
    source: OutputSource,
    mut child: Child,
    events: &mpsc::Sender<TerminalEvent>,
) -> Exit {
    let OutputSource { mut pty, direct, keep_open } = source;
    let mut buffer = vec![0; READ_BYTES];

    let status = loop {
        // Both branches are cancel safe: a cancelled read or wait loses nothing.
        tokio::select! {
            read = pty.read(&mut buffer) => match read {
                Ok(length @ 1..) => send_output(events, &buffer[..length]).await,
                // `keep_open` is still open, so this is a hang-up. The exit follows.
                Ok(0) | Err(_) => break child.wait().await,
            },
            exited = child.wait() => break exited,
        }
    };

    // From here on, only children that the program left behind keep the terminal open.
    drop(keep_open);

    // Direct reads return everything that was written before the exit. `pty.read` could miss it,
    // because the readiness event may arrive later.
    let mut total = 0;
    while total < MAX_REMAINING_BYTES
        && let Ok(length @ 1..) = rustix::io::read(&direct, &mut buffer[..])
    {
        total += length;
        send_output(events, &buffer[..length]).await;
    }

    let _ = timeout(LATE_OUTPUT_LIMIT, send_late_output(&mut pty, &mut buffer, events)).await;
    status.map(|status| exit(status.code(), status.signal())).unwrap_or_default()
}

/// Sends the output of children that the program left behind, until they are silent.
///
/// Cancel safe: all output that was read has been sent, because a place in the queue is reserved
/// before each read.
async fn send_late_output(
    pty: &mut OwnedReadPty,
    buffer: &mut [u8],
    events: &mpsc::Sender<TerminalEvent>,
) {
    while let Ok(permit) = events.reserve().await
        && let Ok(Ok(length @ 1..)) = timeout(LATE_OUTPUT_SILENCE, pty.read(buffer)).await
    {
        permit.send(TerminalEvent::Output(Bytes::copy_from_slice(&buffer[..length])));
    }
}

async fn send_output(events: &mpsc::Sender<TerminalEvent>, output: &[u8]) {
    // Without a receiver the session is gone and the program is being hung up: the output is lost.
    let _ = events.send(TerminalEvent::Output(Bytes::copy_from_slice(output))).await;
}

/// The process groups that receive signals.
struct SignalTargets {
    /// The terminal, which knows the foreground process group.
    terminal: Option<OwnedFd>,
    /// The process group of the program.
    group: Option<Pid>,
}

impl SignalTargets {
    /// Sends a signal to the foreground process group, as the terminal's own keys would.
    fn send(&self, signal: protocol::Signal) {
        let terminal = self.terminal.as_ref();
        let foreground = terminal.and_then(|fd| rustix::termios::tcgetpgrp(fd).ok());
        // Without a foreground group, the program's own.
        let Some(group) = foreground.or(self.group) else { return };

        let signal = match signal {
            protocol::Signal::SigHup => Signal::HUP,
            protocol::Signal::SigInt => Signal::INT,
            protocol::Signal::SigQuit => Signal::QUIT,
            protocol::Signal::SigTerm => Signal::TERM,
            protocol::Signal::SigKill => Signal::KILL,
            protocol::Signal::SigUsr1 => Signal::USR1,
            protocol::Signal::SigUsr2 => Signal::USR2,
            protocol::Signal::SigTstp => Signal::TSTP,
            protocol::Signal::SigCont => Signal::CONT,
        };

        if let Err(error) = kill_process_group(group, signal) {
            debug!(%error, "cannot send the signal");
        }
    }
}

/// Input that the program has not read yet.
struct PendingInput {
    /// The input's number, reported in `written`.
    number: u64,
    bytes: Bytes,
    author: Author,
}

/// The commands of the session. The hang-up is not a control, so that a full queue cannot delay it.
struct Commands {
    controls: mpsc::Receiver<Control>,
    hangup: watch::Receiver<bool>,
}

/// Writes input and executes controls until the program has ended.
async fn write_loop(
    mut pty: OwnedWritePty,
    targets: SignalTargets,
    Commands { mut controls, mut hangup }: Commands,
    written: watch::Sender<u64>,
    mut ended: watch::Receiver<()>,
) {
    // The session bounds this queue: it counts the input that is not yet reported in `written`.
    let mut queue: VecDeque<PendingInput> = VecDeque::new();
    loop {
        // Checked before each write: the program may leave input unread for hours, and its author
        // may lose the right to type in the meantime.
        while queue.front().is_some_and(|input| !input.author.may_write()) {
            advance(&mut queue, usize::MAX, &written);
        }

        // Every branch is cancel safe. Controls are received while a write waits, so a program that
        // does not read still gets resizes, signals and the hang-up.
        let front = queue.front().map_or(&[][..], |input| &input.bytes[..]);
        tokio::select! {
            control = controls.recv() => match control {
                Some(Control::Input { number, bytes, author, .. }) => {
                    queue.push_back(PendingInput { number, bytes, author });
                }
                Some(Control::Resize(size)) => {
                    if let Err(error) = pty.resize(Size::new(size.rows(), size.cols())) {
                        debug!(%error, "cannot resize the terminal");
                    }
                }
                Some(Control::Signal(signal)) => targets.send(signal),
                Some(Control::End) | None => break,
            },
            _ = hangup.wait_for(|hung_up| *hung_up) => break,
            count = pty.write(front), if !front.is_empty() => match count {
                Ok(count) => advance(&mut queue, count, &written),
                // The terminal was hung up. The program's exit follows.
                Err(_) => queue.clear(),
            },
            _ = ended.changed() => return,
        }

        // Empty input has nothing to write but must be reported.
        while queue.front().is_some_and(|input| input.bytes.is_empty()) {
            advance(&mut queue, 0, &written);
        }
    }

    hang_up(targets.group, &mut ended).await;
}

/// Removes up to `count` bytes from the first input; reports the input once it is empty.
fn advance(queue: &mut VecDeque<PendingInput>, count: usize, written: &watch::Sender<u64>) {
    let Some(input) = queue.front_mut() else { return };
    input.bytes.advance(count.min(input.bytes.len()));
    if input.bytes.is_empty() {
        written.send_replace(input.number);
        queue.pop_front();
    }
}

/// Hangs up the program, kills it after [`HANGUP_GRACE`], and waits for its end.
async fn hang_up(group: Option<Pid>, ended: &mut watch::Receiver<()>) {
    let Some(group) = group else { return };
    // A failure means that the group has already ended.
    let _ = kill_process_group(group, Signal::HUP);
    if timeout(HANGUP_GRACE, ended.changed()).await.is_err() {
        let _ = kill_process_group(group, Signal::KILL);
        let _ = ended.changed().await;
    }
}
