//! `cargo xtask api-test`: requests that schemathesis derives from the API's description.
//!
//! The server starts with an empty home and limits too high to interfere. Its sessions run `cat`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use xshell::{Shell, cmd};

use crate::child::ChildGuard;
use crate::packages::target_folder;
use crate::{print, setup};

/// The default number of requests per route and phase.
pub const EXAMPLES: u32 = 50;

const VERSION: &str = "schemathesis==4.32.5";
/// Hooks that schemathesis loads: they set headers that the description cannot express.
const HOOKS: &str = include_str!("api_test/hooks.py");

const CONFIGURATION: &str = r#"
[limits]
max_topics = 10000000
max_topics_per_user = 10000000
max_sessions_per_user = 10000000
connections_per_ip = { count = 0 }
[profiles.terminal]
command = ["cat"]
"#;

/// Builds the server and tests its API.
///
/// # Errors
/// If the build or an installation fails, or a response differs from the description.
pub fn run(sh: &Shell, examples: u32, arguments: &[String]) -> anyhow::Result<()> {
    setup::ensure(sh, &[setup::Need::Rust])?;
    cmd!(sh, "cargo build -p rejoin").run()?;
    let target = target_folder(sh)?;
    let folder = target.join("api-test");
    let schemathesis = ensure(sh, &folder)?;
    let server = Server::start(sh, &target.join("debug/rejoin"), &folder)?;

    fs::write(folder.join("hooks.py"), HOOKS)?;
    let address = format!("{}/api/v1", server.url);
    let document = format!("{address}/openapi.json");
    let token = format!("Authorization: Bearer {}", server.token);
    let examples = examples.to_string();
    let options = ["--checks", "all", "--max-examples", &examples, "--continue-on-failure"];

    // schemathesis writes its reports and caches into the current folder.
    let _folder = sh.push_dir(&folder);
    cmd!(sh, "{schemathesis} run {document} --url {address} --header {token} {options...}")
        .args(arguments)
        .env("PYTHONPATH", &folder)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .run()
        .context("schemathesis found a response that differs from the description")
}

/// Installs schemathesis below `folder` if it is missing. Returns the program.
fn ensure(sh: &Shell, folder: &Path) -> anyhow::Result<PathBuf> {
    let packages = folder.join("python");
    let program = packages.join("bin/st");
    let stamp = folder.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == VERSION) {
        return Ok(program);
    }

    print(format_args!("set-up: installing {VERSION} in {}", packages.display()));
    fs::create_dir_all(folder)?;
    cmd!(sh, "python3 -m venv --clear {packages}")
        .run()
        .context("schemathesis needs Python 3 with `venv`; install the package python3-venv")?;
    let python = packages.join("bin/python");
    cmd!(sh, "{python} -m pip install --quiet --disable-pip-version-check {VERSION}").run()?;

    // Last, so that an interrupted installation is repeated.
    fs::write(stamp, VERSION)?;
    Ok(program)
}

/// The server under test.
struct Server {
    url: String,
    /// A token with the administrator's rights.
    token: String,
    child: ChildGuard,
    /// Ends the programs of the terminals, which outlive the server.
    end_terminals: Command,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.stop();
        let _ = self.end_terminals.output();
    }
}

impl Server {
    fn start(sh: &Shell, binary: &Path, folder: &Path) -> anyhow::Result<Self> {
        let home = folder.join("home");
        if home.exists() {
            fs::remove_dir_all(&home).context("cannot remove the home of the last run")?;
        }
        fs::create_dir_all(&home)?;
        let configuration = home.join("rejoin.toml");
        fs::write(&configuration, CONFIGURATION)?;

        let _folder = sh.push_dir(&home);
        // The server and the command `token` share their secret through the home.
        let _home = sh.push_env("HOME", &home);
        let serve = cmd!(sh, "{binary} serve --listen 127.0.0.1:0 --config {configuration}");
        let mut child = ChildGuard::start(serve.env("REJOIN_LOG", "error"))?;
        let line = child.first_line()?;
        let Some((_, url)) = line.split_once("serves ") else {
            bail!("the server printed {line:?} instead of its address");
        };
        let token = ["token", "--user", "tester", "--admin", "--ttl", "1d"];
        let token = cmd!(sh, "{binary} {token...} --config {configuration}").secret().read()?;

        let end = cmd!(sh, "{binary} kill --all --config {configuration}");
        Ok(Self { url: url.to_owned(), token, child, end_terminals: end.into() })
    }
}
