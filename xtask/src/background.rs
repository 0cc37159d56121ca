//! A step of the test that runs in a process of its own, beside the steps after it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use xshell::{Shell, cmd};

use crate::packages;

/// A running step. Its output is kept in a file, so that it does not mix with that of other steps.
#[derive(Debug)]
pub(crate) struct Background {
    name: &'static str,
    child: Child,
    log: PathBuf,
    began: SystemTime,
}

impl Background {
    /// Starts a step.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub(crate) fn start(sh: &Shell, name: &'static str) -> anyhow::Result<Self> {
        let log = packages::target_folder(sh)?.join(format!("step-{name}.log"));
        let output = File::create(&log)?;
        // Not the file of this process, which a build may have replaced.
        let child = Command::new("cargo")
            .args(["xtask", "test", "--only", name])
            .current_dir(sh.current_dir())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A group of its own, which is killed as a whole.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start step `{name}`"))?;
        Ok(Self { name, child, log, began: SystemTime::now() })
    }

    /// Waits for the end. Returns the step's name, its output, and its time.
    ///
    /// # Errors
    /// If the step failed; with its output.
    pub(crate) fn finish(mut self) -> anyhow::Result<(&'static str, String, Duration)> {
        let status = self.child.wait()?;
        let output = fs::read_to_string(&self.log)?;
        let name = self.name;
        if !status.success() {
            bail!("{output}\nstep `{name}` failed; repeat with `cargo xtask test --only {name}`");
        }
        // The last write, because the end may be long ago.
        let ended = fs::metadata(&self.log)?.modified()?;
        Ok((name, output, ended.duration_since(self.began).unwrap_or_default()))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Another step has failed: this one must not go on without it.
        if let Ok(None) = self.child.try_wait()
            && let Ok(sh) = Shell::new()
        {
            let group = format!("-{}", self.child.id());
            let _ = cmd!(sh, "kill -KILL -- {group}").quiet().ignore_stderr().run();
            let _ = self.child.wait();
        }
    }
}
