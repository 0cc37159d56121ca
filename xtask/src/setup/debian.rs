//! Packages of Debian and its relatives, installed when we may.

use std::path::Path;

use anyhow::bail;

use crate::process::{Program, is_installed};
use crate::say;

/// The programs are there; each is in the package of its name.
pub(super) fn ensure(root: &Path, programs: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<&str> = programs.iter().copied().filter(|p| !is_installed(p)).collect();
    if missing.is_empty() { Ok(()) } else { install(root, &missing) }
}

/// Installs packages, or says what to install.
pub(super) fn install(root: &Path, packages: &[&str]) -> anyhow::Result<()> {
    let names = packages.join(" ");
    let Some(prefix) = privilege(root) else {
        bail!(
            "{names} missing; install with `sudo apt-get install {names}` or your package manager"
        );
    };
    say(format_args!("set-up: {names} missing, installing the Debian packages"));
    // A new machine has no package lists, and an old one lists versions that are gone.
    apt_get(root, &[prefix, &["apt-get", "update", "--quiet"]].concat())?;
    let install = ["apt-get", "install", "--yes", "--quiet"];
    apt_get(root, &[prefix, &install, packages].concat())
}

/// The version of a package that could be installed.
pub(super) fn offers(root: &Path, package: &str) -> Option<String> {
    privilege(root)?;
    let policy = Program::new(root, &["apt-cache", "policy", package]).output().ok()?;
    candidate(&policy).map(str::to_owned)
}

/// What to put before apt-get; nothing where we may not install.
fn privilege(root: &Path) -> Option<&'static [&'static str]> {
    if !is_installed("apt-get") {
        return None;
    }
    let user = Program::new(root, &["id", "-u"]).output().ok()?;
    if user.trim() == "0" {
        return Some(&[]);
    }
    Program::new(root, &["sudo", "-n", "true"]).output().ok()?;
    Some(&["sudo", "-n"])
}

fn apt_get(root: &Path, line: &[&str]) -> anyhow::Result<()> {
    Program::new(root, line).with("DEBIAN_FRONTEND", "noninteractive").run()
}

fn candidate(policy: &str) -> Option<&str> {
    let version = policy.lines().find_map(|l| l.trim().strip_prefix("Candidate:"))?.trim();
    (version != "(none)").then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_is_read_from_the_policy() {
        let policy = "nodejs:\n  Installed: (none)\n  Candidate: 20.19.2+dfsg-1\n";
        assert_eq!(candidate(policy), Some("20.19.2+dfsg-1"));
        assert_eq!(candidate("nodejs:\n  Candidate: (none)\n"), None);
        assert_eq!(candidate(""), None);
    }
}
