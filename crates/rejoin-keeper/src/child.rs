//! The program and its terminal.

use std::{
    io::{self, Write},
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
    group::Group,
    launch::{Launch, Started},
    session,
    wire::{Exit, Size},
};

/// A running program on its PTY.
pub(crate) struct Child {
    pty: Pty,
    /// Keeps the terminal open while the program runs, so that the program can close and reopen it.
    open: Option<OwnedFd>,
    process: process::Child,
    /// Becomes readable once the program has ended.
    pidfd: OwnedFd,
    pid: Pid,
    /// The program's control group, if it has limits.
    group: Option<Group>,
}

impl Child {
    /// Starts the program on a new PTY. A program with limits gets a control group named `name`.
    ///
    /// # Errors
    /// The answer to send to the process that started the keeper.
    pub(crate) fn start(launch: &Launch, name: &str) -> Result<Self, Started> {
        let group = launch.groups.as_ref().map(|groups| groups.create(name)).transpose();
        let group = group.map_err(|error| Started::Failed {
            reason: format!("its control group cannot be created: {error}"),
        })?;
        let child = Self::start_in(launch, group.clone());
        if child.is_err()
            && let Some(group) = group
        {
            group.end();
        }
        child
    }

    fn start_in(launch: &Launch, group: Option<Group>) -> Result<Self, Started> {
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

        // Passes only the given environment: the keeper's own is the server's.
        let command = Command::new(program).args(arguments).current_dir(&launch.cwd).env_clear();
        let command = command.envs(launch.env.iter().map(|(name, value)| (name, value)));
        let command = match &group {
            Some(group) => enter(command, group).map_err(|error| failed(&error))?,
            None => command,
        };
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
        // Readable once the program has ended, so the poll loop needs no SIGCHLD handler.
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| failed(&error))?;
        let child = Self { pty, open: Some(open), process, pidfd, pid, group };
        if let Some(open_files) = launch.open_files {
            child.limit_open_files(open_files);
        }
        Ok(child)
    }

    /// Returns the PTY, which is non-blocking.
    pub(crate) fn pty(&self) -> &Pty {
        &self.pty
    }

    /// Returns a descriptor that becomes readable once the program has ended.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Changes the size of the terminal, which sends SIGWINCH to the foreground process group.
    pub(crate) fn resize(&self, size: Size) {
        // A failure leaves the old size. The next change corrects it.
        let _ = self.pty.resize(pty_process::Size::new(size.rows, size.cols));
    }

    /// Sends a signal to the terminal's foreground process group, as Ctrl-C does.
    pub(crate) fn signal(&self, signal: i32) {
        let Some(signal) = Signal::from_named_raw(signal) else { return };
        let foreground = rustix::termios::tcgetpgrp(&self.pty).ok();
        // Fails only if the group has ended.
        let _ = kill_process_group(foreground.unwrap_or(self.pid), signal);
    }

    /// Sends SIGHUP to the foreground process group and to the program's own group.
    pub(crate) fn hang_up(&self) {
        self.signal(Signal::HUP.as_raw());
        let _ = kill_process_group(self.pid, Signal::HUP);
    }

    /// Returns the program's control group, if it has limits.
    pub(crate) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// Kills every process in the program's session, whatever its process group, and then those
    /// that have left the session but not the control group.
    pub(crate) fn kill_session(&self) {
        session::kill(self.pid);
        if let Some(group) = &self.group {
            group.kill();
        }
    }

    /// Reaps the program, which has ended, and releases the terminal. From here on, only processes
    /// that the program left behind keep it open.
    pub(crate) fn reap(&mut self) -> Exit {
        self.open = None;
        let Ok(status) = self.process.wait() else { return Exit::default() };
        let is_killed = status.signal() == Some(Signal::KILL.as_raw());
        let is_out_of_memory =
            is_killed && self.group.as_ref().is_some_and(Group::was_out_of_memory);
        Exit { code: status.code(), signal: status.signal(), is_out_of_memory }
    }

    /// Sets the program's soft limit on open files. Some programs iterate over all descriptors.
    fn limit_open_files(&self, soft: u64) {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: Some(soft), maximum };
        let _ = prlimit(Some(self.pid), Resource::Nofile, limit);
    }
}

/// Makes the program enter its control group before it is executed. The keeper stays outside, so
/// that it can record the end of a program that exceeds its limits.
#[expect(unsafe_code, reason = "a new process enters its group before it executes its program")]
fn enter(command: Command, group: &Group) -> io::Result<Command> {
    let mut entry = group.entry()?;
    // SAFETY: a write to an open file is async-signal-safe and does not allocate.
    Ok(unsafe { command.pre_exec(move || entry.write_all(b"0")) })
}
