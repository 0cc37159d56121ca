//! A child process that is killed when its handle is dropped.

use std::io::BufReader;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::Context as _;
use xshell::Cmd;

/// A running child process with a piped standard output.
#[derive(Debug)]
pub(crate) struct ChildGuard(Child);

impl ChildGuard {
    /// Starts the command.
    ///
    /// # Errors
    /// If the command cannot be started.
    pub(crate) fn start(cmd: Cmd<'_>) -> anyhow::Result<Self> {
        let name = cmd.to_string();
        // Without input, a child cannot wait for a terminal.
        let child = Command::from(cmd).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        child.map(Self).with_context(|| format!("cannot start `{name}`"))
    }

    /// Takes the reader of the standard output.
    ///
    /// # Errors
    /// If the reader was already taken.
    pub(crate) fn output(&mut self) -> anyhow::Result<BufReader<ChildStdout>> {
        self.0.stdout.take().map(BufReader::new).context("the output was already taken")
    }

    /// Kills the child and waits for its end.
    pub(crate) fn stop(&mut self) {
        // Both fail if the child has already exited and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits for the child to exit.
    pub(crate) fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.0.wait()?)
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.stop();
    }
}
