//! The life of a program on a PTY: one loop that reads, one that writes, and its end.

use std::{
    collections::VecDeque, os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration,
};

use bytes::{Buf, Bytes};
use pty_process::{OwnedReadPty, OwnedWritePty, Pty, Size};
use rejoin_core::{Control, TerminalEvent};
use rejoin_protocol::Exit;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Child,
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::debug;

/// The most that one read takes, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// How long a program has to go after a hang-up before it is killed.
const HANGUP_GRACE: Duration = Duration::from_secs(2);
/// After the exit, output is read until none came for so long: what the program wrote is in
/// the PTY by then, what its children write later does not count.
const DRAIN_QUIET: Duration = Duration::from_millis(50);

/// Runs until the program has ended and all its output was told.
pub(super) async fn run(
    pty: Pty,
    child: Child,
    events: mpsc::Sender<TerminalEvent>,
    controls: mpsc::Receiver<Control>,
    written: watch::Sender<u64>,
) {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let (read_pty, write_pty) = pty.into_split();
    let (ended_tx, ended_rx) = watch::channel(());
    let write = write_loop(write_pty, group, controls, written, ended_rx);
    let read = async move {
        let exit = read_loop(read_pty, child, &events).await;
        debug!(?exit, "program reaped");
        let _ = events.send(TerminalEvent::Exit(exit)).await;
        drop(ended_tx);
    };
    tokio::join!(read, write);
}

/// Reads until the program's end. Not reading while nobody takes the output pauses the program.
async fn read_loop(
    mut pty: OwnedReadPty,
    mut child: Child,
    events: &mpsc::Sender<TerminalEvent>,
) -> Exit {
    let mut buffer = vec![0; READ_BYTES];
    let mut status = None;
    while status.is_none() {
        tokio::select! {
            read = pty.read(&mut buffer) => match read {
                // EIO says that the last process has closed the terminal.
                Ok(0) | Err(_) => break,
                Ok(length) => tell(events, &buffer[..length]).await,
            },
            exited = child.wait() => status = Some(exited.ok()),
        }
    }
    while status.is_some()
        && let Ok(Ok(length @ 1..)) = timeout(DRAIN_QUIET, pty.read(&mut buffer)).await
    {
        tell(events, &buffer[..length]).await;
    }
    let status = match status {
        Some(status) => status,
        None => child.wait().await.ok(),
    };
    status.map(exit).unwrap_or_default()
}

async fn tell(events: &mpsc::Sender<TerminalEvent>, output: &[u8]) {
    // Without a listener the program is being hung up; its last words go nowhere.
    let _ = events.send(TerminalEvent::Output(Bytes::copy_from_slice(output))).await;
}

/// Writes input and obeys until the program has ended.
async fn write_loop(
    mut pty: OwnedWritePty,
    group: Option<Pid>,
    mut controls: mpsc::Receiver<Control>,
    written: watch::Sender<u64>,
    mut ended: watch::Receiver<()>,
) {
    // Bounded by the session, which counts what was not acknowledged.
    let mut queue: VecDeque<(u64, Bytes)> = VecDeque::new();
    loop {
        let front = queue.front().map_or(&[][..], |(_, bytes)| &bytes[..]);
        tokio::select! {
            control = controls.recv() => match control {
                Some(Control::Input { number, bytes }) => queue.push_back((number, bytes)),
                Some(Control::Resize(size)) => {
                    if let Err(error) = pty.resize(Size::new(size.rows(), size.cols())) {
                        debug!(%error, "the terminal keeps its size");
                    }
                }
                Some(Control::Hangup) | None => break,
            },
            count = pty.write(front), if !front.is_empty() => match count {
                Ok(count) => advance(&mut queue, count, &written),
                // The program has closed its terminal; its exit follows.
                Err(_) => queue.clear(),
            },
            _ = ended.changed() => return,
        }
        while queue.front().is_some_and(|(_, bytes)| bytes.is_empty()) {
            advance(&mut queue, 0, &written);
        }
    }
    hang_up(group, &mut ended).await;
}

fn advance(queue: &mut VecDeque<(u64, Bytes)>, count: usize, written: &watch::Sender<u64>) {
    let Some((number, bytes)) = queue.front_mut() else { return };
    bytes.advance(count);
    if bytes.is_empty() {
        written.send_replace(*number);
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
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return format!("signal {number}"),
    };
    name.to_owned()
}
