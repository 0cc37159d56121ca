//! A child process with its output.

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::wait_until;

/// A process that is killed when the value is dropped.
pub(crate) struct TestProcess {
    child: Child,
    /// `None` after a test has closed it.
    pub(crate) stdout: Option<Lines<BufReader<ChildStdout>>>,
    /// `None` unless the command pipes standard error.
    pub(crate) stderr: Option<Lines<BufReader<ChildStderr>>>,
}

impl TestProcess {
    pub(crate) fn start(command: Command) -> Self {
        Self::start_with_output(command, Stdio::piped())
    }

    /// Starts a process with this standard output.
    pub(crate) fn start_with_output(mut command: Command, output: Stdio) -> Self {
        let mut child = command.stdout(output).spawn().unwrap();
        let stdout = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        let stderr = child.stderr.take().map(|stderr| BufReader::new(stderr).lines());
        Self { child, stdout, stderr }
    }

    /// Returns the lines of standard output.
    pub(crate) fn lines(&mut self) -> &mut Lines<BufReader<ChildStdout>> {
        self.stdout.as_mut().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of the process and returns its exit code.
    ///
    /// # Panics
    /// After `limit`.
    pub(crate) fn wait_within(&mut self, limit: Duration) -> Option<i32> {
        let mut status = None;
        wait_until(limit, "the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// Waits for the end of the process and returns its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for TestProcess {
    fn drop(&mut self) {
        // Both fail if the process has ended, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
