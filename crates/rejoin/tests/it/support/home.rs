//! A home directory of its own for the binary.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::support::TestServer;

/// The directory of the data in a home, without configuration.
const DATA: &str = ".local/share/rejoin";

/// An empty home directory, removed with the value. The terminals in it are ended.
pub(crate) struct TestHome(TempDir);

impl TestHome {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn root(&self) -> &Path {
        self.0.path()
    }

    /// Returns the path of a file in the home.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Returns the path of a file in the default data directory.
    pub(crate) fn data_path(&self, name: &str) -> PathBuf {
        self.path(DATA).join(name)
    }

    /// Writes a file and creates its directories.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a configuration whose profile `terminal` is a shell script.
    pub(crate) fn write_terminal_profile(&self, script: &str) {
        let profile = format!("[profiles.terminal]\ncommand = [\"sh\", \"-c\", '''{script}''']\n");
        self.write("rejoin.toml", &profile);
    }

    /// Returns the command `rejoin` with these arguments, run in this home.
    pub(crate) fn rejoin(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_rejoin"));
        command.args(arguments);
        command
    }

    /// Returns the command of a program that is run in this home.
    pub(crate) fn program(&self, program: &str) -> Command {
        program_in(self.0.path(), program)
    }

    /// Runs `rejoin` and returns its standard output.
    ///
    /// # Panics
    /// If the command fails.
    pub(crate) fn output_of(&self, arguments: &[&str]) -> String {
        successful_output(self.rejoin(arguments))
    }

    /// Runs `rejoin` and returns its error line.
    ///
    /// # Panics
    /// If the command succeeds.
    pub(crate) fn error_of(&self, arguments: &[&str]) -> String {
        error_line(self.rejoin(arguments))
    }

    /// Returns a token with the default rights.
    pub(crate) fn token(&self, user: &str, ttl: &str) -> String {
        self.output_of(&["token", "--user", user, "--ttl", ttl]).trim_end().to_owned()
    }

    /// Starts a server on a free port.
    pub(crate) fn start_server(&self) -> TestServer {
        TestServer::start(self, self.rejoin(&["serve", "--listen", "127.0.0.1:0"]))
    }
}

impl Drop for TestHome {
    fn drop(&mut self) {
        // Also after a panic: keepers outlive the server.
        if self.data_path("terminals").exists() {
            let _ = self.rejoin(&["kill", "--all", "--data-dir", DATA]).output();
        }
    }
}

/// Returns a command that is run in a home, with a minimal environment.
pub(super) fn program_in(home: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("USER", "ann")
        .stdin(Stdio::null());
    command
}

/// Runs a command and returns its standard output.
///
/// # Panics
/// If the command fails.
pub(super) fn successful_output(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command and returns its error line without the prefix `rejoin: `.
///
/// # Panics
/// Unless the command fails with exactly one such line.
pub(crate) fn error_line(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{output:?}");

    let Output { stdout, stderr, .. } = output;
    assert_eq!(String::from_utf8(stdout).unwrap(), "");
    let stderr = String::from_utf8(stderr).unwrap();
    let line = stderr.strip_prefix("rejoin: ").and_then(|text| text.strip_suffix('\n'));
    match line {
        Some(line) if !line.contains('\n') => line.to_owned(),
        _ => panic!("not one line that begins with `rejoin: `: {stderr:?}"),
    }
}
