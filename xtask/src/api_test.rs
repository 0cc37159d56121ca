//! `cargo xtask api-test`: requests that schemathesis makes of the API's description.
//!
//! The server is one of its own, without limits that would answer in the place of what is tested;
//! its sessions run `cat`.

use std::fs;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::process::{Program, Running};
use crate::steps::target_folder;
use crate::{say, setup};

/// Requests for each route and phase, unless somebody asks for more.
pub const EXAMPLES: u32 = 50;

const VERSION: &str = "schemathesis==4.32.5";
/// What a request needs that no description can say.
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

/// Tests the API as it is built now.
///
/// # Errors
/// When something cannot be built or installed, or an answer is not as described.
pub fn run(root: &Path, examples: u32, arguments: &[String]) -> anyhow::Result<()> {
    setup::ensure(root, &[setup::Need::Rust])?;
    Program::new(root, &["cargo", "build", "--package", "rejoin"]).run()?;
    let target = target_folder(root)?;
    let folder = target.join("api-test");
    let schemathesis = ensure(root, &folder)?;
    let server = Server::start(root, &target.join("debug/rejoin"), &folder)?;

    fs::write(folder.join("hooks.py"), HOOKS)?;
    let address = format!("{}/api/v1", server.url);
    let (program, document) = (schemathesis.to_string_lossy(), format!("{address}/openapi.json"));
    let token = format!("Authorization: Bearer {}", server.token);
    let examples = examples.to_string();
    let mut line = vec![&*program, "run", &document, "--url", &address, "--header", &token];
    line.extend(["--checks", "all", "--max-examples", &examples, "--continue-on-failure"]);
    line.extend(arguments.iter().map(String::as_str));
    Program::new(root, &line)
        .within(&folder)
        .with("PYTHONPATH", &folder)
        .with("SCHEMATHESIS_HOOKS", "hooks")
        .run()
        .map_err(|_| anyhow::anyhow!("schemathesis found something"))
}

/// Installs schemathesis below `folder`, unless it is there.
fn ensure(root: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let packages = folder.join("python");
    let program = packages.join("bin/st");
    let stamp = folder.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == VERSION) {
        return Ok(program);
    }
    say(format_args!("set-up: installing {VERSION} in {}", packages.display()));
    fs::create_dir_all(folder)?;
    let environment = packages.to_string_lossy();
    Program::new(root, &["python3", "-m", "venv", "--clear", &environment])
        .run()
        .context("schemathesis needs Python 3 with `venv`")?;
    let python = packages.join("bin/python");
    let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", VERSION];
    Program::new(root, &[&[&*python.to_string_lossy()], &options[..]].concat()).run()?;
    fs::write(stamp, VERSION)?;
    Ok(program)
}

/// The server under test, with nothing of the one before.
struct Server {
    url: String,
    /// An administrator's.
    token: String,
    _running: Running,
}

impl Server {
    fn start(root: &Path, binary: &Path, folder: &Path) -> anyhow::Result<Self> {
        let home = folder.join("home");
        if home.exists() {
            fs::remove_dir_all(&home).context("cannot remove what the last test left")?;
        }
        fs::create_dir_all(&home)?;
        let configuration = home.join("rejoin.toml");
        fs::write(&configuration, CONFIGURATION)?;
        let (binary, configuration) = (binary.to_string_lossy(), configuration.to_string_lossy());
        let rejoin = |arguments: &[&str]| {
            let line = [&[&*binary], arguments, &["--config", &configuration]].concat();
            Program::new(root, &line).within(&home).with("HOME", &home)
        };
        let server = rejoin(&["serve", "--listen", "127.0.0.1:0"]).with("REJOIN_LOG", "error");
        let mut running = Running::from(server.start()?);
        let line = running.output()?.lines().next().transpose()?.unwrap_or_default();
        let Some((_, url)) = line.split_once("serves ") else {
            bail!("the server says {line:?}, and not where it is");
        };
        let token = rejoin(&["token", "--user", "tester", "--admin", "--ttl", "1d"]).output()?;
        Ok(Self { url: url.to_owned(), token: token.trim_end().to_owned(), _running: running })
    }
}
