//! The start of a program on a PTY.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
};

use pty_process::{Command, Pty, Size};
use rejoin_core::{Launch, StartError};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::process::Child;
use tracing::debug;

use crate::program::{Program, no_terminal, resolve, start_error};

/// A running program and its PTY.
pub(super) struct StartedProgram {
    pub(super) pty: Pty,
    /// A second descriptor of the PTY, for reads that do not wait for a readiness event.
    pub(super) direct: OwnedFd,
    /// A descriptor that keeps the terminal open if the program closes its own descriptors.
    pub(super) keep_open: OwnedFd,
    pub(super) child: Child,
}

impl StartedProgram {
    /// Sets the program's soft limit of open files.
    ///
    /// The server raises its own limit. Many programs loop over all possible descriptors, and some
    /// use `select`, which fails above 1,024.
    pub(super) fn limit_open_files(&self, soft: u64) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: Some(soft), maximum };
        if let Err(error) = prlimit(pid, Resource::Nofile, limit) {
            debug!(%error, "cannot set a program's limit of open files; it inherits the server's");
        }
    }
}

/// Opens a PTY and starts the program on it.
///
/// Returns an error that names the wrong part of the profile or of the request.
pub(super) fn spawn(
    launch: &Launch,
    inherited: &BTreeMap<String, String>,
) -> Result<StartedProgram, StartError> {
    let Program { words, env, directory } = resolve(launch, inherited)?;
    let program = &words[0];

    let (pty, pts) = pty_process::open().map_err(no_terminal)?;
    pty.resize(Size::new(launch.size.rows(), launch.size.cols())).map_err(no_terminal)?;
    let direct = pty.as_fd().try_clone_to_owned().map_err(no_terminal)?;
    let keep_open = pts.as_fd().try_clone_to_owned().map_err(no_terminal)?;

    let command = Command::new(program)
        .args(&words[1..])
        .current_dir(&directory)
        // Without this, the program would inherit the server's secrets.
        .env_clear()
        .envs(env)
        .kill_on_drop(true);
    let child = command.spawn(pts).map_err(|error| match error {
        pty_process::Error::Io(error) => start_error(program, launch, &error),
        error => StartError(format!("the command `{program}` could not be run: {error}")),
    })?;

    Ok(StartedProgram { pty, direct, keep_open, child })
}
