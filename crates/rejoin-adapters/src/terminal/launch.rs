//! How a program is started: its command, its environment, its directory.

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

/// Variables that a program expects of a log-in; `LC_` and `XDG_` are prefixes.
const ORDINARY: &[&str] = &[
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
/// The shell of a system that names none.
const FALLBACK_SHELL: &str = "/bin/sh";

/// A program that was started.
pub(super) struct Started {
    pub(super) pty: Pty,
    /// The same PTY, to be read without waiting for its readiness.
    pub(super) rest: OwnedFd,
    /// Keeps the terminal open while the program runs, also when it has closed it itself.
    pub(super) open: OwnedFd,
    pub(super) child: Child,
}

impl Started {
    /// Sets the program's soft limit of open files: many programs go through all that they may
    /// have, and some break above 1,024.
    pub(super) fn limit_open_files(&self, soft: u64) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: Some(soft), maximum };
        if let Err(error) = prlimit(pid, Resource::Nofile, limit) {
            debug!(%error, "a program keeps the server's limit of open files");
        }
    }
}

/// Whether a variable of the server's environment is passed on.
pub(super) fn is_ordinary(name: &str) -> bool {
    ORDINARY.contains(&name) || name.starts_with("LC_") || name.starts_with("XDG_")
}

/// Opens a PTY and starts the program on it.
pub(super) fn spawn(
    launch: &Launch,
    env: &BTreeMap<String, String>,
) -> Result<Started, StartError> {
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
    let rest = pty.as_fd().try_clone_to_owned().map_err(no_pty)?;
    let open = pts.as_fd().try_clone_to_owned().map_err(no_pty)?;
    let command = Command::new(program)
        .args(arguments)
        .current_dir(&directory)
        .env_clear()
        .envs(env)
        .env("TERM", "xterm-256color")
        .env("COLORTERM", "truecolor")
        .env("TERM_PROGRAM", "rejoin")
        .env("REJOIN_SESSION", launch.session.as_str())
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        .kill_on_drop(true);
    let child = command.spawn(pts).map_err(|error| refused(program, launch, error))?;
    Ok(Started { pty, rest, open, child })
}

/// Where the program starts: like a shell's `cd`, from home.
fn directory(launch: &Launch, env: &BTreeMap<String, String>) -> Result<PathBuf, StartError> {
    let home = Path::new(env.get("HOME").map_or("/", String::as_str));
    let asked_for = launch.cwd.as_deref().unwrap_or("~");
    let directory = match asked_for.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            home.join(rest.trim_start_matches('/'))
        }
        _ => home.join(asked_for),
    };
    if !directory.is_dir() {
        return Err(StartError(format!("there is no directory `{}`", directory.display())));
    }
    if access(&directory, Access::EXEC_OK).is_err() {
        let sentence = format!("the directory `{}` may not be entered", directory.display());
        return Err(StartError(sentence));
    }
    Ok(directory)
}

/// Replaces a word that is `$NAME` by the variable's value.
fn expand(word: &str, env: &BTreeMap<String, String>) -> Result<String, StartError> {
    let Some(name) = word.strip_prefix('$') else { return Ok(word.to_owned()) };
    match env.get(name) {
        Some(value) => Ok(value.clone()),
        None if name == "SHELL" => Ok(FALLBACK_SHELL.to_owned()),
        None => Err(StartError(format!("its command names `${name}`, which is not set"))),
    }
}

fn refused(program: &str, launch: &Launch, error: pty_process::Error) -> StartError {
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
    StartError(format!("the server has no terminal to give: {error}"))
}
