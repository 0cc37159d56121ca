//! The program of a terminal, and the start of its keeper.

use std::{
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::{Directory, wire::Size};

/// Maximum length of a [`Launch`] as JSON, in bytes.
const MAX_LAUNCH_BYTES: u64 = 1024 * 1024;

/// The program that a keeper starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The program and its arguments, with all variables expanded.
    pub command: Vec<String>,
    /// The whole environment of the program.
    pub env: Vec<(String, String)>,
    /// The working directory, which exists.
    pub cwd: String,
    /// Columns of the first size.
    pub cols: u16,
    /// Rows of the first size.
    pub rows: u16,
    /// Quota of the log in bytes.
    pub log_bytes: u64,
    /// Soft limit of open files of the program; `None`: that of the keeper.
    pub open_files: Option<u64>,
}

impl Launch {
    /// Returns the first size.
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
        /// Its process id.
        pid: u32,
    },
    /// The command does not exist.
    NotFound,
    /// The command may not be executed.
    PermissionDenied,
    /// Another failure.
    Failed {
        /// Its reason.
        reason: String,
    },
}

/// Starts a keeper in `directory`, which was [created](Directory::create), and waits until its
/// program runs or could not be started.
///
/// `keeper` is the executable, and `arguments` those before the directory, for example `["keeper"]`
/// for `rejoin keeper DIRECTORY`. The returned process is the keeper: wait for it, or leave it to
/// the system's init by ending this process.
///
/// # Errors
/// If the keeper cannot be started or does not answer.
pub fn start(
    keeper: &Path,
    arguments: &[&str],
    directory: &Directory,
    launch: &Launch,
) -> io::Result<(Child, Started)> {
    let mut command = Command::new(keeper);
    // Process lists show this name, and not that of a link to the executable.
    command.arg0("rejoin-keeper");
    // The keeper runs in another directory than the server.
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
            Err(error)
        }
    }
}

fn exchange(
    stdin: Option<impl Write>,
    stdout: Option<impl Read>,
    launch: &Launch,
) -> io::Result<Started> {
    let missing = || io::Error::other("the keeper has no pipes");
    let mut stdin = stdin.ok_or_else(missing)?;
    stdin.write_all(&serde_json::to_vec(launch)?)?;
    drop(stdin);

    let mut answer = Vec::new();
    stdout.ok_or_else(missing)?.take(MAX_LAUNCH_BYTES).read_to_end(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::other("the keeper ended without an answer"));
    }
    Ok(serde_json::from_slice(&answer)?)
}

/// Reads the launch from standard input, in the keeper.
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
