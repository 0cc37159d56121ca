//! How a program is started: its command, its environment, its directory.

use std::{collections::BTreeMap, io, path::Path};

use pty_process::{Command, Pty, Size};
use rejoin_core::{Launch, StartError};
use tokio::process::Child;

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

/// Whether a variable of the server's environment is passed on.
pub(super) fn is_ordinary(name: &str) -> bool {
    ORDINARY.contains(&name) || name.starts_with("LC_") || name.starts_with("XDG_")
}

/// Opens a PTY and starts the program on it.
pub(super) fn spawn(
    launch: &Launch,
    env: &BTreeMap<String, String>,
) -> Result<(Pty, Child), StartError> {
    let mut words = Vec::with_capacity(launch.command.len());
    for word in &launch.command {
        words.push(expand(word, env)?);
    }
    let Some((program, arguments)) = words.split_first() else {
        return Err(StartError("its command is empty".to_owned()));
    };
    let home = env.get("HOME").map_or("/", String::as_str);
    let directory = match launch.cwd.as_deref() {
        None => home.to_owned(),
        Some(path) => match path.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
            _ => path.to_owned(),
        },
    };
    if !Path::new(&directory).is_dir() {
        return Err(StartError(format!("there is no directory `{directory}`")));
    }
    let (pty, pts) = pty_process::open().map_err(|error| no_pty(&error))?;
    let size = Size::new(launch.size.rows(), launch.size.cols());
    pty.resize(size).map_err(|error| no_pty(&error))?;
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
    let child = command.spawn(pts).map_err(|error| refused(program, error))?;
    Ok((pty, child))
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

fn refused(program: &str, error: pty_process::Error) -> StartError {
    let sentence = match error {
        pty_process::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            format!("the command `{program}` does not exist on the server")
        }
        pty_process::Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            format!("the command `{program}` may not be run on the server")
        }
        error => format!("the command `{program}` could not be run: {error}"),
    };
    StartError(sentence)
}

fn no_pty(error: &pty_process::Error) -> StartError {
    StartError(format!("the server has no terminal to give: {error}"))
}
