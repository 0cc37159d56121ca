//! A child process that is killed when its handle is dropped.

use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;

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

    /// Returns the first line of the standard output, without its end.
    ///
    /// Discards the rest while the child runs: a closed or a full pipe would disturb it.
    ///
    /// # Errors
    /// If the reader was already taken, or the output cannot be read.
    pub(crate) fn first_line(&mut self) -> anyhow::Result<String> {
        let mut output = self.output()?;
        let mut line = String::new();
        output.read_line(&mut line)?;

        // Ends with the child, which the guard kills.
        thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        Ok(line.trim_end().to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_may_print_more_than_its_first_line() {
        // More than a pipe holds; a closed pipe would end `head`.
        let shell = xshell::Shell::new().unwrap();
        let script = "echo ready; head -c 1000000 /dev/zero && exit 7";
        let mut child = ChildGuard::start(xshell::cmd!(shell, "sh -c {script}")).unwrap();

        assert_eq!(child.first_line().unwrap(), "ready");
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }
}
