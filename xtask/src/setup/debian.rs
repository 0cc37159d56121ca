//! Packages of Debian and its relatives, installed if the user may.

use anyhow::bail;
use xshell::{Shell, cmd};

use super::is_installed;
use crate::print;

/// Installs the programs that are missing. Each is in the package of its name.
pub(super) fn ensure(sh: &Shell, programs: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<&str> = programs.iter().copied().filter(|p| !is_installed(p)).collect();
    if missing.is_empty() { Ok(()) } else { install(sh, &missing) }
}

/// Installs packages.
///
/// # Errors
/// If the user may not install packages. The message names the command to run.
pub(super) fn install(sh: &Shell, packages: &[&str]) -> anyhow::Result<()> {
    let names = packages.join(" ");
    let Some((env, prefix)) = env_as_root(sh) else {
        bail!(
            "{names} missing; install with `sudo apt-get install {names}` or your package manager"
        );
    };

    print(format_args!("set-up: installing the Debian packages {names}"));
    let frontend = "DEBIAN_FRONTEND=noninteractive";
    // A new machine has no package lists; an old one lists versions that are no longer served.
    cmd!(sh, "{env} {prefix...} {frontend} apt-get update --quiet").run()?;
    let install = ["apt-get", "install", "--yes", "--quiet"];
    cmd!(sh, "{env} {prefix...} {frontend} {install...} {packages...}").run()?;
    Ok(())
}

/// Returns the version of the package that `install` would install.
pub(super) fn candidate_version(sh: &Shell, package: &str) -> Option<String> {
    env_as_root(sh)?;
    let policy = cmd!(sh, "apt-cache policy {package}").quiet().read().ok()?;
    parse_candidate(&policy).map(str::to_owned)
}

/// Returns the program and first arguments that run `env` as root.
///
/// `None` if there is no apt-get or the user may not become root.
fn env_as_root(sh: &Shell) -> Option<(&'static str, &'static [&'static str])> {
    if !is_installed("apt-get") {
        return None;
    }
    if cmd!(sh, "id -u").quiet().read().ok()? == "0" {
        return Some(("env", &[]));
    }
    // `-n` fails instead of asking for a password.
    cmd!(sh, "sudo -n true").quiet().ignore_stderr().run().ok()?;
    Some(("sudo", &["-n", "env"]))
}

fn parse_candidate(policy: &str) -> Option<&str> {
    let version = policy.lines().find_map(|l| l.trim().strip_prefix("Candidate:"))?.trim();
    (version != "(none)").then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_version_is_read_from_the_policy() {
        let policy = "nodejs:\n  Installed: (none)\n  Candidate: 20.19.2+dfsg-1\n";

        assert_eq!(parse_candidate(policy), Some("20.19.2+dfsg-1"));
        assert_eq!(parse_candidate("nodejs:\n  Candidate: (none)\n"), None);
        assert_eq!(parse_candidate(""), None);
    }
}
