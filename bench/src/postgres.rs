//! A PostgreSQL server on a Unix socket, which ends with its value.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use rustix::process::geteuid;
use tempfile::TempDir;

/// Debian keeps the programs of each version in a directory below this one.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The directories of the programs on other systems.
const PROGRAMS: [&str; 2] = ["/usr/local/bin", "/usr/bin"];
/// The user of the database, and of its processes if this one is root.
const USER: &str = "postgres";

/// A running server with its own data.
pub(crate) struct Postgres {
    folder: TempDir,
    programs: PathBuf,
}

impl Postgres {
    /// Creates a database and starts a server.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or does not start.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        if geteuid().is_root() {
            // PostgreSQL refuses to run as root.
            chown(folder.path(), Some(id_of_user("-u")?), Some(id_of_user("-g")?))?;
        }
        let postgres = Self { folder, programs: programs()? };
        let data = postgres.data();
        postgres.run("initdb", &["-D", &data, "-U", USER, "-A", "trust", "--no-sync"])?;
        postgres.start_again()?;
        Ok(postgres)
    }

    /// Starts the server after a stop.
    pub(crate) fn start_again(&self) -> anyhow::Result<()> {
        let socket = self.folder.path().display().to_string();
        let options = format!("-k {socket} -c listen_addresses=''");
        let log = format!("{socket}/log");
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-l", &log, "-o", &options, "start"])
    }

    /// Stops the server at once, which cuts its connections.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-m", "immediate", "stop"])
    }

    /// Returns the URL for `store.url`.
    pub(crate) fn url(&self) -> String {
        format!("postgres:///postgres?host={}&user={USER}", self.folder.path().display())
    }

    /// Returns the text of a query's only value.
    pub(crate) fn query(&self, statement: &str) -> anyhow::Result<String> {
        let mut command = Command::new(self.programs.join("psql"));
        command.arg("-h").arg(self.folder.path());
        command.args(["-U", USER, "-d", "postgres", "-X", "-A", "-t", "-q", "-c", statement]);
        let output = command.current_dir("/").stdin(Stdio::null()).output().context("psql")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "psql: {}", error.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let program = self.programs.join(program);
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", USER, "--"]).arg(&program);
            command
        } else {
            Command::new(&program)
        };
        // The server inherits the streams: a pipe would never end.
        command.args(arguments).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.stderr(Stdio::null()).status()?;
        ensure!(status.success(), "{} {arguments:?}: {status}", program.display());
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if fs::exists(format!("{}/postmaster.pid", self.data())).unwrap_or(false) {
            let _ = self.stop();
        }
    }
}

/// Returns the user id (`-u`) or group id (`-g`) of PostgreSQL's user.
fn id_of_user(option: &str) -> anyhow::Result<u32> {
    let output = Command::new("id").args([option, USER]).output()?;
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().with_context(|| format!("the system has no user `{USER}`"))
}

/// Returns the directory of PostgreSQL's programs.
fn programs() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let directories = versions.map(|version| version.path().join("bin"));
    let debian = directories.filter(|directory| directory.join("initdb").exists()).max();
    let mut others = PROGRAMS.map(PathBuf::from).into_iter();
    let other = || others.find(|directory| directory.join("initdb").exists());
    debian.or_else(other).context("PostgreSQL is missing; on Debian it is the package `postgresql`")
}
