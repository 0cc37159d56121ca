//! The program and its terminal.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    process,
};

use pty_process::blocking::{Command, Pty};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, kill_process_group, pidfd_open, prlimit,
};

use crate::{
    launch::{Launch, Started},
    session,
    wire::{Exit, Size},
};

/// A running program on its PTY.
pub(crate) struct Child {
    pty: Pty,
    /// Keeps the terminal open while the program runs, so that the program may close and reopen it.
    open: Option<OwnedFd>,
    process: process::Child,
    /// Readable once the program ended.
    pidfd: OwnedFd,
    pid: Pid,
}

impl Child {
    /// Starts the program on a new PTY.
    ///
    /// # Errors
    /// The answer to the keeper's starter.
    pub(crate) fn start(launch: &Launch) -> Result<Self, Started> {
        let failed =
            |reason: &dyn std::fmt::Display| Started::Failed { reason: reason.to_string() };
        let Some((program, arguments)) = launch.command.split_first() else {
            return Err(failed(&"the command is empty"));
        };

        let (pty, pts) = pty_process::blocking::open().map_err(|error| failed(&error))?;
        let size = pty_process::Size::new(launch.rows, launch.cols);
        pty.resize(size).map_err(|error| failed(&error))?;
        // The keeper has one thread, which must not block on a program that does not read.
        rustix::io::ioctl_fionbio(&pty, true).map_err(|error| failed(&error))?;
        let open = pts.as_fd().try_clone_to_owned().map_err(|error| failed(&error))?;

        // Only the given environment: the keeper's own is that of the server.
        let command = Command::new(program).args(arguments).current_dir(&launch.cwd).env_clear();
        let command = command.envs(launch.env.iter().map(|(name, value)| (name, value)));
        let process = command.spawn(pts).map_err(|error| match error {
            pty_process::Error::Io(error) => match error.kind() {
                io::ErrorKind::NotFound => Started::NotFound,
                io::ErrorKind::PermissionDenied => Started::PermissionDenied,
                _ => failed(&error),
            },
            error => failed(&error),
        })?;

        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| failed(&"the program has no process id"))?;
        // Readable once the program has ended, so the poll loop needs no handler of SIGCHLD.
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| failed(&error))?;
        let child = Self { pty, open: Some(open), process, pidfd, pid };
        if let Some(open_files) = launch.open_files {
            child.limit_open_files(open_files);
        }
        Ok(child)
    }

    /// Returns the PTY, which does not block.
    pub(crate) fn pty(&self) -> &Pty {
        &self.pty
    }

    /// Returns a descriptor that is readable once the program ended.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Changes the size of the terminal, which sends SIGWINCH to the foreground.
    pub(crate) fn resize(&self, size: Size) {
        // A failure leaves the old size, which the next change corrects.
        let _ = self.pty.resize(pty_process::Size::new(size.rows, size.cols));
    }

    /// Sends a signal to the terminal's foreground process group, as the terminal's own keys do.
    pub(crate) fn signal(&self, signal: i32) {
        let Some(signal) = Signal::from_named_raw(signal) else { return };
        let foreground = rustix::termios::tcgetpgrp(&self.pty).ok();
        // An error means that the group has ended.
        let _ = kill_process_group(foreground.unwrap_or(self.pid), signal);
    }

    /// Sends SIGHUP to the foreground and to the program's own group.
    pub(crate) fn hang_up(&self) {
        self.signal(Signal::HUP.as_raw());
        let _ = kill_process_group(self.pid, Signal::HUP);
    }

    /// Kills every process of the program's session, whatever its process group.
    pub(crate) fn kill_session(&self) {
        session::kill(self.pid);
    }

    /// Waits for the program, which ended, and releases the terminal: from here on only processes
    /// that the program left behind hold it open.
    pub(crate) fn reap(&mut self) -> Exit {
        self.open = None;
        match self.process.wait() {
            Ok(status) => Exit { code: status.code(), signal: status.signal() },
            Err(_) => Exit::default(),
        }
    }

    /// Sets the program's soft limit of open files: some programs iterate over all descriptors.
    fn limit_open_files(&self, soft: u64) {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: Some(soft), maximum };
        let _ = prlimit(Some(self.pid), Resource::Nofile, limit);
    }
}
