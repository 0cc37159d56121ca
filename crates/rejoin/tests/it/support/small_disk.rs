//! A small file system, which a test fills.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use crate::support::TestHome;

/// A small file system in the data directory of a home, unmounted when dropped.
pub(crate) struct SmallDisk<'a> {
    home: &'a TestHome,
    path: PathBuf,
}

impl<'a> SmallDisk<'a> {
    /// Mounts it at a directory of the data directory; "" is the data directory itself.
    ///
    /// Returns `None` without the right to mount.
    #[expect(clippy::print_stdout, reason = "the output of the test says that it was skipped")]
    pub(crate) fn mount(home: &'a TestHome, directory: &str, size: &str) -> Option<Self> {
        let path = home.data_path(directory);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(home.data_path(""), PermissionsExt::from_mode(0o700)).unwrap();

        let options = format!("size={size},mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path);
        if mount.status().unwrap().success() {
            return Some(Self { home, path });
        }
        println!("skipped: a small disk can be mounted by root only");
        None
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        // Ends at the full disk. Small blocks also fill what a larger one leaves.
        let output = format!("of={}", self.filler().display());
        let _ = Command::new("dd").args(["if=/dev/zero", "bs=4k"]).arg(output).output();
    }

    /// Makes room again.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// Makes it read-only with `ro`, and writable with `rw`.
    pub(crate) fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        let mut mount = Command::new("mount");
        assert!(mount.args(["-o", &options]).arg(&self.path).status().unwrap().success());
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Later no command finds the terminals.
        let _ = self.home.rejoin(&["kill", "--all"]).output();
        // Lazily: a process may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
