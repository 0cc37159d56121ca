//! The life of a program on a PTY: one loop that reads, one that writes, and its end.

use std::{
    collections::VecDeque,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::ExitStatus,
    time::Duration,
};

use bytes::{Buf, Bytes};
use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use rejoin_core::{Author, Control, TerminalEvent};
use rejoin_protocol::{self as protocol, Exit};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Child,
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::debug;

use crate::terminal::launch::Started;

/// The most that one read takes, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// How long a program has to go after a hang-up before it is killed.
const HANGUP_GRACE: Duration = Duration::from_secs(2);
/// More than a terminal holds: what comes after it was written after the exit.
const HELD_BYTES: usize = 64 * 1024;
/// Children that the program leaves behind are heard until none printed for so long,
const LAST_WORDS_QUIET: Duration = Duration::from_millis(50);
/// and for no longer than this.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What ends programs; their numbers differ between systems.
const SIGNALS: &[(Signal, &str)] = &[
    (Signal::HUP, "SIGHUP"),
    (Signal::INT, "SIGINT"),
    (Signal::QUIT, "SIGQUIT"),
    (Signal::ILL, "SIGILL"),
    (Signal::TRAP, "SIGTRAP"),
    (Signal::ABORT, "SIGABRT"),
    (Signal::BUS, "SIGBUS"),
    (Signal::FPE, "SIGFPE"),
    (Signal::KILL, "SIGKILL"),
    (Signal::USR1, "SIGUSR1"),
    (Signal::SEGV, "SIGSEGV"),
    (Signal::USR2, "SIGUSR2"),
    (Signal::PIPE, "SIGPIPE"),
    (Signal::ALARM, "SIGALRM"),
    (Signal::TERM, "SIGTERM"),
    (Signal::XCPU, "SIGXCPU"),
    (Signal::XFSZ, "SIGXFSZ"),
    (Signal::SYS, "SIGSYS"),
];

/// The session's side of a program.
pub(super) struct Orders {
    pub(super) controls: mpsc::Receiver<Control>,
    /// Hangs up once it is true or its sender is gone.
    pub(super) hangup: watch::Receiver<bool>,
}

/// Runs until the program has ended and all its output was told.
pub(super) async fn run(
    started: Started,
    events: mpsc::Sender<TerminalEvent>,
    orders: Orders,
    written: watch::Sender<u64>,
) {
    let Started { pty, rest, open, child } = started;
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let (ended_tx, ended_rx) = watch::channel(());
    let (read_pty, write_pty) = pty.into_split();
    let programs = Programs { terminal: rest.try_clone().ok(), group };
    let write = write_loop(write_pty, programs, orders, written, ended_rx);
    let read = async move {
        let exit = read_loop(Terminal { pty: read_pty, rest, open }, child, &events).await;
        debug!(?exit, "program reaped");
        let _ = events.send(TerminalEvent::Exit(exit)).await;
        drop(ended_tx);
    };
    tokio::join!(read, write);
}

/// The read side of a terminal.
struct Terminal {
    pty: OwnedReadPty,
    rest: OwnedFd,
    open: OwnedFd,
}

/// Reads until the program's end. Not reading while nobody takes the output pauses the program.
async fn read_loop(
    terminal: Terminal,
    mut child: Child,
    events: &mpsc::Sender<TerminalEvent>,
) -> Exit {
    let Terminal { mut pty, rest, open } = terminal;
    let mut buffer = vec![0; READ_BYTES];
    let status = loop {
        tokio::select! {
            read = pty.read(&mut buffer) => match read {
                Ok(length @ 1..) => tell(events, &buffer[..length]).await,
                // The terminal was hung up: it is kept open while the program runs.
                Ok(0) | Err(_) => break child.wait().await,
            },
            exited = child.wait() => break exited,
        }
    };
    // From here on the children that it left behind decide how long the terminal is open.
    drop(open);
    // What the program left in its terminal: a read gets all that was written before it, while
    // the notice that there is something to read may come at any time.
    let mut taken = 0;
    while taken < HELD_BYTES
        && let Ok(length @ 1..) = rustix::io::read(&rest, &mut buffer[..])
    {
        taken += length;
        tell(events, &buffer[..length]).await;
    }
    let _ = timeout(LAST_WORDS, last_words(&mut pty, &mut buffer, events)).await;
    status.map(exit).unwrap_or_default()
}

/// Hears children that the program left behind. Cancel safe: what was read is told.
async fn last_words(
    pty: &mut OwnedReadPty,
    buffer: &mut [u8],
    events: &mpsc::Sender<TerminalEvent>,
) {
    while let Ok(place) = events.reserve().await
        && let Ok(Ok(length @ 1..)) = timeout(LAST_WORDS_QUIET, pty.read(buffer)).await
    {
        place.send(TerminalEvent::Output(Bytes::copy_from_slice(&buffer[..length])));
    }
}

async fn tell(events: &mpsc::Sender<TerminalEvent>, output: &[u8]) {
    // Without a listener the program is being hung up; its last words go nowhere.
    let _ = events.send(TerminalEvent::Output(Bytes::copy_from_slice(output))).await;
}

/// Whom signals go to.
struct Programs {
    /// Tells who runs in the foreground.
    terminal: Option<OwnedFd>,
    /// The program itself, and what it started without giving it a group.
    group: Option<Pid>,
}

impl Programs {
    /// Sends a signal to whoever runs in the foreground, as the terminal's own keys would.
    fn send(&self, signal: protocol::Signal) {
        let terminal = self.terminal.as_ref();
        let foreground = terminal.and_then(|fd| rustix::termios::tcgetpgrp(fd).ok());
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
            debug!(%error, "nobody took the signal");
        }
    }
}

/// Input that waits for the program.
struct Input {
    number: u64,
    bytes: Bytes,
    author: Author,
}

/// Writes input and obeys until the program has ended.
async fn write_loop(
    mut pty: OwnedWritePty,
    programs: Programs,
    Orders { mut controls, mut hangup }: Orders,
    written: watch::Sender<u64>,
    mut ended: watch::Receiver<()>,
) {
    // Bounded by the session, which counts what was not acknowledged.
    let mut queue: VecDeque<Input> = VecDeque::new();
    loop {
        // Checked before each write: the program may have let the input wait for hours.
        while queue.front().is_some_and(|input| !input.author.may_write()) {
            advance(&mut queue, usize::MAX, &written);
        }
        let front = queue.front().map_or(&[][..], |input| &input.bytes[..]);
        tokio::select! {
            control = controls.recv() => match control {
                Some(Control::Input { number, bytes, author }) => {
                    queue.push_back(Input { number, bytes, author });
                }
                Some(Control::Resize(size)) => {
                    if let Err(error) = pty.resize(Size::new(size.rows(), size.cols())) {
                        debug!(%error, "the terminal keeps its size");
                    }
                }
                Some(Control::Signal(signal)) => programs.send(signal),
                None => break,
            },
            _ = hangup.wait_for(|hung_up| *hung_up) => break,
            count = pty.write(front), if !front.is_empty() => match count {
                Ok(count) => advance(&mut queue, count, &written),
                // The terminal was hung up; the program's exit follows.
                Err(_) => queue.clear(),
            },
            _ = ended.changed() => return,
        }
        while queue.front().is_some_and(|input| input.bytes.is_empty()) {
            advance(&mut queue, 0, &written);
        }
    }
    hang_up(programs.group, &mut ended).await;
}

/// Takes `count` bytes, or all that is left, from the first input; reports it when it is done.
fn advance(queue: &mut VecDeque<Input>, count: usize, written: &watch::Sender<u64>) {
    let Some(input) = queue.front_mut() else { return };
    input.bytes.advance(count.min(input.bytes.len()));
    if input.bytes.is_empty() {
        written.send_replace(input.number);
        queue.pop_front();
    }
}

async fn hang_up(group: Option<Pid>, ended: &mut watch::Receiver<()>) {
    let Some(group) = group else { return };
    // A failure means that the group is gone, which is what is wanted.
    let _ = kill_process_group(group, Signal::HUP);
    if timeout(HANGUP_GRACE, ended.changed()).await.is_err() {
        let _ = kill_process_group(group, Signal::KILL);
        let _ = ended.changed().await;
    }
}

fn exit(status: ExitStatus) -> Exit {
    Exit { code: status.code(), signal: status.signal().map(signal_name) }
}

fn signal_name(number: i32) -> String {
    let known = SIGNALS.iter().find(|(signal, _)| signal.as_raw() == number);
    known.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}
