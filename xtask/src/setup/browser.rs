//! The browser of the browser tests, and the programs that they open.

use std::path::Path;

use anyhow::bail;
use xshell::Shell;

use super::{debian, is_installed};
use crate::print;

/// The browser without windows, which needs half the CPU time of Chromium.
const HEADLESS_SHELL: &str = "chromium-headless-shell";

/// Accepts `$CHROMIUM`, or installs the headless shell if it is missing, or accepts Chromium.
///
/// The order is that of `web/e2e/browser.ts`.
pub(super) fn ensure(sh: &Shell) -> anyhow::Result<()> {
    match sh.var_os("CHROMIUM") {
        Some(path) if Path::new(&path).is_file() => {}
        Some(path) => bail!("$CHROMIUM names {}, which is no file", path.display()),
        None => {
            if let Err(error) = debian::ensure(sh, &[HEADLESS_SHELL]) {
                if !is_installed("chromium") {
                    return Err(error);
                }
                print("set-up: without the headless shell, the browser tests take twice as long");
            }
        }
    }

    debian::ensure(sh, &["vim", "less"])
}
