//! A tmux server of its own, as a program to compare with.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::machine;
use crate::pty::Terminal;

/// A tmux server without the user's settings.
pub(crate) struct Tmux {
    /// Holds the settings and the socket.
    folder: TempDir,
}

impl Tmux {
    /// Returns whether tmux is installed.
    pub(crate) fn is_installed() -> bool {
        machine::is_installed("tmux")
    }

    /// Creates a server, which starts with its first session.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let tmux = Self { folder: tempfile::tempdir()? };
        fs::write(tmux.settings(), "set -g status off\n")?;
        Ok(tmux)
    }

    /// Starts a program in a new session, and attaches a terminal to it.
    pub(crate) fn open(&self, program: &[String]) -> anyhow::Result<Terminal> {
        Terminal::start(self.command().arg("new-session").args(program))
    }

    /// Attaches a terminal to the session.
    pub(crate) fn attach(&self) -> anyhow::Result<Terminal> {
        Terminal::start(self.command().arg("attach"))
    }

    /// Returns the process id of the server.
    pub(crate) fn id(&self) -> anyhow::Result<u32> {
        let output = self.command().args(["display-message", "-p", "#{pid}"]).output()?;
        ensure!(output.status.success(), "tmux does not answer");
        let id = str::from_utf8(&output.stdout)?.trim();
        id.parse().with_context(|| format!("tmux printed {id:?}"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.env_remove("TMUX").arg("-f").arg(self.settings());
        command.arg("-S").arg(self.folder.path().join("socket"));
        command
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("tmux.conf")
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // An error means that no session was started.
        let _ = self.command().arg("kill-server").output();
    }
}
