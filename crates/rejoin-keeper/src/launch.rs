//! The program of a terminal, and the start of its keeper.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::{Directory, LimitedGroups, wire::Size};

/// The maximum length of a [`Launch`] as JSON, in bytes.
const MAX_LAUNCH_BYTES: u64 = 1024 * 1024;
/// The maximum time that a new keeper may take to read and to answer its launch.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// The program that a keeper starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The program and its arguments, with all variables expanded.
    pub command: Vec<String>,
    /// The whole environment of the program.
    pub env: Vec<(String, String)>,
    /// The working directory, which must exist.
    pub cwd: String,
    /// The initial number of columns.
    pub cols: u16,
    /// The initial number of rows.
    pub rows: u16,
    /// The quota of the log, in bytes. A value below
    /// [`MIN_QUOTA_BYTES`](crate::log::MIN_QUOTA_BYTES) is raised to it.
    pub log_bytes: u64,
    /// The program's soft limit on open files. `None` inherits that of the keeper.
    pub open_files: Option<u64>,
    /// The limits of the program and its descendants, in a control group. `None` means no limits.
    #[serde(default)]
    pub groups: Option<LimitedGroups>,
}

impl Launch {
    /// Returns the initial size.
    #[must_use]
    pub fn size(&self) -> Size {
        Size { cols: self.cols, rows: self.rows }
    }
}

/// The keeper's answer to its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Started {
    /// The program runs.
    Running {
        /// The program's process id.
        pid: u32,
    },
    /// The command does not exist.
    NotFound,
    /// The command may not be executed.
    PermissionDenied,
    /// The program could not be started for another reason.
    Failed {
        /// The reason.
        reason: String,
    },
}

/// Starts a keeper in `directory`, which must be [created](Directory::create), and waits until its
/// program is running or could not be started.
///
/// `keeper` is the executable, and `arguments` are those before the directory, for example
/// `["keeper"]` for `rejoin keeper DIRECTORY`. The returned process is the keeper: wait for it, or
/// leave it to the system's init by ending this process.
///
/// # Errors
/// If the keeper cannot be started or does not answer within 5 seconds. In this case, neither the
/// keeper nor its program is running.
pub fn start(
    keeper: &Path,
    arguments: &[&str],
    directory: &Directory,
    launch: &Launch,
) -> io::Result<(Child, Started)> {
    let mut command = Command::new(keeper);
    // Process lists show this name instead of the path of the executable.
    command.arg0(format!("rejoin: keeper {}", directory.name()));
    // Made absolute, because the keeper runs in a different directory than the server.
    let path = std::path::absolute(directory.path())?;
    command.args(arguments).arg(path).current_dir("/").env_clear();
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn()?;

    let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
    let started = exchange(stdin, stdout, launch);
    match started {
        Ok(started) => Ok((process, started)),
        Err(error) => {
            let _ = process.kill();
            let _ = process.wait();
            // The keeper may have started a program before it hung. Spares another keeper's.
            if !directory.has_keeper().unwrap_or(true) {
                directory.kill_session();
            }
            Err(error)
        }
    }
}

fn exchange(
    stdin: Option<impl Write + AsFd>,
    stdout: Option<impl Read + AsFd>,
    launch: &Launch,
) -> io::Result<Started> {
    let missing = || io::Error::other("the keeper has no pipes");
    let (mut stdin, mut stdout) = (stdin.ok_or_else(missing)?, stdout.ok_or_else(missing)?);
    rustix::io::ioctl_fionbio(&stdin, true)?;
    rustix::io::ioctl_fionbio(&stdout, true)?;
    let deadline = Instant::now() + START_TIMEOUT;

    let launch = serde_json::to_vec(launch)?;
    let mut rest = launch.as_slice();
    while !rest.is_empty() {
        wait_for(PollFd::new(&stdin, PollFlags::OUT), deadline)?;
        let written = unless_busy(stdin.write(rest))?.unwrap_or(0);
        rest = &rest[written..];
    }
    drop(stdin);

    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        wait_for(PollFd::new(&stdout, PollFlags::IN), deadline)?;
        match unless_busy(stdout.read(&mut buffer))? {
            Some(0) => break,
            Some(length) => answer.extend_from_slice(&buffer[..length]),
            None => {}
        }
        if answer.len() as u64 > MAX_LAUNCH_BYTES {
            return Err(io::Error::other("the keeper's answer is too long"));
        }
    }
    if answer.is_empty() {
        return Err(io::Error::other("the keeper ended without an answer"));
    }
    Ok(serde_json::from_slice(&answer)?)
}

/// Waits until a pipe is ready.
///
/// # Errors
/// `TimedOut` if the deadline passes first.
fn wait_for(pipe: PollFd<'_>, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
    match poll(&mut [pipe], Some(&timeout)) {
        Ok(0) => {
            let sentence = format!("the keeper did not answer within {START_TIMEOUT:?}");
            Err(io::Error::new(ErrorKind::TimedOut, sentence))
        }
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns `None` if the pipe was not ready after all.
fn unless_busy(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Reads the launch from standard input. Called in the keeper.
pub(crate) fn read() -> io::Result<Launch> {
    let mut launch = Vec::new();
    io::stdin().lock().take(MAX_LAUNCH_BYTES).read_to_end(&mut launch)?;
    Ok(serde_json::from_slice(&launch)?)
}

/// Answers the start on standard output, and detaches from the standard streams.
pub(crate) fn answer(started: &Started) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(&serde_json::to_vec(started)?)?;
    stdout.flush()?;

    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
