//! The program of a terminal: command, environment, directory, and the errors of its start.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io,
    path::{Path, PathBuf},
};

use rejoin_core::{Launch, StartError};
use rejoin_protocol::Exit;
use rustix::{
    fs::{Access, access},
    process::Signal,
};

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

/// The names of signals that end programs; their numbers differ between systems.
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

/// A program with all variables expanded.
pub(crate) struct Program {
    /// The program and its arguments, not empty.
    pub(crate) words: Vec<String>,
    /// The whole environment.
    pub(crate) env: BTreeMap<String, String>,
    /// The working directory, which exists.
    pub(crate) directory: PathBuf,
}

/// Returns `true` if programs inherit this variable of the server's environment.
pub(crate) fn is_inherited(name: &str) -> bool {
    INHERITED.contains(&name) || name.starts_with("LC_") || name.starts_with("XDG_")
}

/// Expands the variables of a launch, and checks its directory.
///
/// Returns an error that names the wrong part of the profile or of the request.
pub(crate) fn resolve(
    launch: &Launch,
    inherited: &BTreeMap<String, String>,
) -> Result<Program, StartError> {
    let mut words = Vec::with_capacity(launch.command.len());
    for word in &launch.command {
        words.push(expand(word, inherited)?);
    }
    if words.is_empty() {
        return Err(StartError("its command is empty".to_owned()));
    }

    let directory = directory(launch, inherited)?;
    let own = [
        ("TERM", "xterm-256color"),
        ("COLORTERM", "truecolor"),
        ("TERM_PROGRAM", "rejoin"),
        ("REJOIN_SESSION", launch.record.id.as_str()),
    ];
    let mut env = inherited.clone();
    env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    // Last, so that a profile may replace the variables above.
    env.extend(launch.env.iter().cloned());
    Ok(Program { words, env, directory })
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

/// Returns the error of a command that could not be started.
pub(crate) fn start_error(program: &str, launch: &Launch, error: &io::Error) -> StartError {
    let sentence = match error.kind() {
        io::ErrorKind::NotFound => {
            let hint = launch.install_hint.as_ref().map(|hint| format!("; {hint}"));
            let hint = hint.unwrap_or_default();
            format!("the command `{program}` does not exist on the server{hint}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("the command `{program}` may not be run on the server")
        }
        _ => format!("the command `{program}` could not be run: {error}"),
    };

    StartError(sentence)
}

/// Returns the error of a terminal that could not be opened.
pub(crate) fn no_terminal(error: impl Display) -> StartError {
    StartError(format!("the server cannot open a terminal: {error}"))
}

/// Returns the exit of a program that ended with a code or by a signal.
pub(crate) fn exit(code: Option<i32>, signal: Option<i32>) -> Exit {
    Exit { code, signal: signal.map(signal_name) }
}

fn signal_name(number: i32) -> String {
    let known = SIGNALS.iter().find(|(signal, _)| signal.as_raw() == number);
    known.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}
