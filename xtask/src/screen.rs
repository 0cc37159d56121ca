//! `cargo xtask screen`: the screen against xterm.js.

use xshell::{Shell, cmd};

/// The differential test, an npm package of its own.
const FOLDER: &str = "crates/rejoin-screen/xterm";

/// The extent of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The tests, with a few cases of each group.
    Tests,
    /// The score of each group, with these arguments of `report.mjs`.
    Report(Vec<String>),
}

/// Installs xterm.js and compares the screen with it.
///
/// # Errors
/// If a test fails. A report has no required score.
pub fn run(sh: &Shell, extent: &Extent) -> anyhow::Result<()> {
    // Not a workspace of the root: its packages are needed here only.
    let _folder = sh.push_dir(FOLDER);
    cmd!(sh, "npm ci --no-audit --no-fund").run()?;
    match extent {
        Extent::Tests => cmd!(sh, "npm test").run()?,
        Extent::Report(arguments) => cmd!(sh, "npm run report -- {arguments...}").run()?,
    }

    Ok(())
}
