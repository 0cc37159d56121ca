//! A program on a PTY, whose output is received piece by piece.

use std::io::{Read as _, Write as _};
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use pty_process::Size;
use pty_process::blocking::{Command, Pty};
use rejoin_screen::ScreenSize;
use rustix::process::{Pid, Signal, kill_process_group};

/// The number of pieces of output in memory; a program that prints more waits.
const MAX_PIECES: usize = 64;
const PIECE_BYTES: usize = 16 * 1024;

/// A running program; it is killed when this value is dropped.
pub struct Program {
    pty: Arc<Pty>,
    child: Child,
    output: Receiver<Vec<u8>>,
}

/// The result of waiting for output.
#[derive(Debug)]
pub enum Received {
    Output(Vec<u8>),
    /// The program printed nothing for the given time.
    Silence,
    /// The program closed its terminal.
    End,
}

impl Program {
    /// Starts a command on a new PTY.
    ///
    /// # Errors
    /// If there is no PTY, or the command does not start.
    pub fn start(size: ScreenSize, command: Command) -> anyhow::Result<Self> {
        let (pty, pts) = pty_process::blocking::open()?;
        pty.resize(Size::new(size.rows, size.cols))?;
        let child = command.spawn(pts)?;
        let pty = Arc::new(pty);
        let (sender, output) = mpsc::sync_channel(MAX_PIECES);
        let reader = Arc::clone(&pty);
        thread::spawn(move || read(&reader, &sender));

        Ok(Self { pty, child, output })
    }

    /// Returns the next output, or reports the end or a silence.
    pub fn receive(&self, silence: Duration) -> Received {
        match self.output.recv_timeout(silence) {
            Ok(output) => Received::Output(output),
            Err(RecvTimeoutError::Timeout) => Received::Silence,
            Err(RecvTimeoutError::Disconnected) => Received::End,
        }
    }

    /// Types input.
    ///
    /// # Errors
    /// If the program has closed its terminal.
    pub fn type_in(&self, input: &[u8]) -> anyhow::Result<()> {
        Ok((&*self.pty).write_all(input)?)
    }

    /// Changes the size of the terminal.
    ///
    /// # Errors
    /// If the program has closed its terminal.
    pub fn resize(&self, size: ScreenSize) -> anyhow::Result<()> {
        Ok(self.pty.resize(Size::new(size.rows, size.cols))?)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // An error means that the program has ended.
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let _ = self.child.wait();
    }
}

fn read(mut pty: &Pty, sender: &SyncSender<Vec<u8>>) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(count @ 1..) = pty.read(&mut buffer) {
        if sender.send(buffer[..count].to_vec()).is_err() {
            return;
        }
    }
}
