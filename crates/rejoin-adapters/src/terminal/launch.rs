//! The start of a program: command, environment, directory.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use pty_process::{Command, Pty, Size};
use rejoin_core::{Launch, StartError};
use rustix::{
    fs::{Access, access},
    process::{Pid, Resource, Rlimit, getrlimit, prlimit},
};
use tokio::process::Child;
use tracing::debug;

/// The variables that a program inherits, besides those with the prefix `LC_` or `XDG_`.
///
/// The list contains the variables of a login session, and none that could hold a secret.
const INHERITED: &[&str] = &[
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "EDITOR",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "PAGER",
    "PATH",
    "SHELL",
    "SSH_AUTH_SOCK",
    "TMPDIR",
    "TZ",
    "USER",
    "VISUAL",
    "WAYLAND_DISPLAY",
];
/// The shell if `SHELL` is not set.
const FALLBACK_SHELL: &str = "/bin/sh";

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

/// Returns `true` if programs inherit this variable of the server's environment.
pub(super) fn is_inherited(name: &str) -> bool {
    INHERITED.contains(&name) || name.starts_with("LC_") || name.starts_with("XDG_")
}

/// Opens a PTY and starts the program on it.
///
/// Returns an error that names the wrong part of the profile or of the request.
pub(super) fn spawn(
    launch: &Launch,
    env: &BTreeMap<String, String>,
) -> Result<StartedProgram, StartError> {
    let mut words = Vec::with_capacity(launch.command.len());
    for word in &launch.command {
        words.push(expand(word, env)?);
    }

    let Some((program, arguments)) = words.split_first() else {
        return Err(StartError("its command is empty".to_owned()));
    };

    let directory = directory(launch, env)?;
    let (pty, pts) = pty_process::open().map_err(no_pty)?;
    pty.resize(Size::new(launch.size.rows(), launch.size.cols())).map_err(no_pty)?;
    let direct = pty.as_fd().try_clone_to_owned().map_err(no_pty)?;
    let keep_open = pts.as_fd().try_clone_to_owned().map_err(no_pty)?;

    let command = Command::new(program)
        .args(arguments)
        .current_dir(&directory)
        // Without this, the program would inherit the server's secrets.
        .env_clear()
        .envs(env)
        .env("TERM", "xterm-256color")
        .env("COLORTERM", "truecolor")
        .env("TERM_PROGRAM", "rejoin")
        .env("REJOIN_SESSION", launch.session.as_str())
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        .kill_on_drop(true);
    let child = command.spawn(pts).map_err(|error| spawn_error(program, launch, error))?;

    Ok(StartedProgram { pty, direct, keep_open, child })
}

/// Returns the directory in which the program starts.
///
/// A relative path and `~` start at the home directory.
fn directory(launch: &Launch, env: &BTreeMap<String, String>) -> Result<PathBuf, StartError> {
    let home = Path::new(env.get("HOME").map_or("/", String::as_str));
    let requested = launch.cwd.as_deref().unwrap_or("~");
    let directory = match requested.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            home.join(rest.trim_start_matches('/'))
        }
        _ => home.join(requested),
    };

    // Checked here because a failed `chdir` in the child looks like a missing command.
    if !directory.is_dir() {
        return Err(StartError(format!("there is no directory `{}`", directory.display())));
    }

    if access(&directory, Access::EXEC_OK).is_err() {
        let sentence = format!("the server may not enter the directory `{}`", directory.display());
        return Err(StartError(sentence));
    }

    Ok(directory)
}

/// Replaces a word of the form `$NAME` with the variable's value.
fn expand(word: &str, env: &BTreeMap<String, String>) -> Result<String, StartError> {
    let Some(name) = word.strip_prefix('$') else { return Ok(word.to_owned()) };
    match env.get(name) {
        Some(value) => Ok(value.clone()),
        None if name == "SHELL" => Ok(FALLBACK_SHELL.to_owned()),
        None => Err(StartError(format!("its command names `${name}`, which is not set"))),
    }
}

fn spawn_error(program: &str, launch: &Launch, error: pty_process::Error) -> StartError {
    let sentence = match error {
        pty_process::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            let hint = launch.install_hint.as_ref().map(|hint| format!("; {hint}"));
            let hint = hint.unwrap_or_default();
            format!("the command `{program}` does not exist on the server{hint}")
        }
        pty_process::Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            format!("the command `{program}` may not be run on the server")
        }
        error => format!("the command `{program}` could not be run: {error}"),
    };

    StartError(sentence)
}

fn no_pty(error: impl Display) -> StartError {
    StartError(format!("the server cannot open a terminal: {error}"))
}
