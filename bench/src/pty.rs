//! A terminal of this process with a program.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::clock;

/// The size of the terminal.
pub(crate) const COLS: u16 = 80;
pub(crate) const ROWS: u16 = 24;
/// Bytes per read.
const READ_BYTES: usize = 64 * 1024;
/// The longest time until a program's first output.
const FIRST_OUTPUT: Duration = Duration::from_secs(2);

/// A terminal of this process with its program, which ends with it.
pub(crate) struct Terminal {
    file: File,
    program: Child,
    buffer: Vec<u8>,
}

impl Terminal {
    /// Starts a program in a new terminal.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let file = openpt(flags).context("cannot open a terminal")?;
        grantpt(&file)?;
        unlockpt(&file)?;
        let end = ioctl_tiocgptpeer(&file, flags)?;
        let size = Winsize { ws_row: ROWS, ws_col: COLS, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&end, size)?;

        command.stdin(end.try_clone()?).stdout(end).stderr(Stdio::null());
        let program = command.env("TERM", "xterm-256color").spawn();
        let program = program.context("cannot start the program")?;
        // The command holds the program's end, without which a read reports its exit.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self { file: file.into(), program, buffer: vec![0; READ_BYTES] })
    }

    /// Types keys.
    pub(crate) fn send(&mut self, keys: &[u8]) -> anyhow::Result<()> {
        Ok(self.file.write_all(keys)?)
    }

    /// Reads until there is no output for this long. Returns the bytes, and the time of the last.
    pub(crate) fn read_until_silence(&mut self, silence: Duration) -> anyhow::Result<(usize, u64)> {
        let (mut bytes, mut last) = (0, clock::now());
        loop {
            // The first output may take longer.
            let silence = if bytes == 0 { silence.max(FIRST_OUTPUT) } else { silence };
            let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
            if poll(&mut fds, Some(&clock::timespec(silence)))? == 0 {
                return Ok((bytes, last));
            }
            bytes += self.read()?.len();
            last = clock::now();
        }
    }

    /// Waits for output.
    pub(crate) fn read(&mut self) -> anyhow::Result<&[u8]> {
        let count = self.file.read(&mut self.buffer).context("the program has ended")?;
        ensure!(count > 0, "the program has ended");
        Ok(&self.buffer[..count])
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
