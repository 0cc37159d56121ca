//! A program that is run for us, and the sentence when it fails.

use std::ffi::OsStr;
use std::io::BufReader;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context as _, bail};

/// A program with its arguments, run from the root of the repository.
#[derive(Debug)]
pub struct Program {
    command: Command,
    line: String,
}

impl Program {
    /// Names the program and all its arguments.
    pub fn new(root: &Path, line: &[impl AsRef<str>]) -> Self {
        let words: Vec<&str> = line.iter().map(AsRef::as_ref).collect();
        let (name, arguments) = words.split_first().map_or(("", &[][..]), |(n, a)| (*n, a));
        let mut command = Command::new(name);
        command.args(arguments).current_dir(root).stdin(Stdio::null());
        Self { command, line: words.join(" ") }
    }

    /// Runs in this folder instead.
    #[must_use]
    pub fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Lets it read what is typed here.
    #[must_use]
    pub fn interactive(mut self) -> Self {
        self.command.stdin(Stdio::inherit());
        self
    }

    /// Runs it to its end, its output shown.
    ///
    /// # Errors
    /// When it cannot be started or ends with another code than 0.
    pub fn run(mut self) -> anyhow::Result<()> {
        let status =
            self.command.status().with_context(|| format!("cannot start `{}`", self.line))?;
        if !status.success() {
            bail!("`{}` ended with {status}", self.line);
        }
        Ok(())
    }

    /// Starts it, its output to be read.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut self) -> anyhow::Result<Child> {
        let child = self.command.stdout(Stdio::piped()).spawn();
        child.with_context(|| format!("cannot start `{}`", self.line))
    }

    /// Runs it to its end and returns what it printed.
    ///
    /// # Errors
    /// When it cannot be started, ends with another code than 0, or prints no UTF-8.
    pub fn output(mut self) -> anyhow::Result<String> {
        let output =
            self.command.output().with_context(|| format!("cannot start `{}`", self.line))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{}` ended with {}: {}", self.line, output.status, said.trim());
        }
        String::from_utf8(output.stdout).with_context(|| format!("`{}` printed no text", self.line))
    }
}

/// Whether a program of this name is on the search path.
#[must_use]
pub fn is_installed(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

/// A program that does not outlive this.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// What it prints.
    ///
    /// # Errors
    /// When somebody reads it already.
    pub fn output(&mut self) -> anyhow::Result<BufReader<ChildStdout>> {
        self.0.stdout.take().map(BufReader::new).context("its output is read once")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.0.wait()?)
    }
}

impl From<Child> for Running {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_its_code() {
        let error = Program::new(Path::new("."), &["false", "x"]).run().unwrap_err();
        assert_eq!(error.to_string(), "`false x` ended with exit status: 1");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Program::new(Path::new("."), &["no-such-program"]).output().unwrap_err();
        assert_eq!(error.to_string(), "cannot start `no-such-program`");
        assert!(!is_installed("no-such-program"));
        assert!(is_installed("sh"));
    }
}
