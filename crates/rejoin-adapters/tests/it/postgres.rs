//! A PostgreSQL server of a test, on a Unix socket. The tests of the binary use it, too.

use std::{
    fs,
    os::unix::fs::chown,
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::process::geteuid;
use tempfile::TempDir;

/// A running server. It is stopped when the value is dropped.
pub(crate) struct Postgres {
    directory: TempDir,
    programs: PathBuf,
}

impl Postgres {
    /// Creates a database and starts a server.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        if geteuid().is_root() {
            // PostgreSQL refuses to run as root.
            let id = |option| {
                let output = Command::new("id").args([option, "postgres"]).output().unwrap();
                String::from_utf8(output.stdout).unwrap().trim().parse().expect("a user postgres")
            };
            chown(directory.path(), Some(id("-u")), Some(id("-g"))).unwrap();
        }
        let postgres = Self { directory, programs: programs() };
        let data = postgres.data();
        postgres.run("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync"]);
        postgres.start_again();
        postgres
    }

    /// Starts the server after a stop.
    pub(crate) fn start_again(&self) {
        let socket = self.directory.path().display().to_string();
        let options = format!("-k {socket} -c listen_addresses='' -c fsync=off");
        let log = format!("{socket}/log");
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-l", &log, "-o", &options, "start"]);
    }

    /// Stops the server, which cuts its connections.
    pub(crate) fn stop(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-m", "immediate", "stop"]);
    }

    /// Returns the URL of its database.
    pub(crate) fn url(&self) -> String {
        let socket = self.directory.path().display();
        format!("postgres:///postgres?host={socket}&user=postgres")
    }

    fn data(&self) -> String {
        self.directory.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(&program);
            command
        } else {
            Command::new(&program)
        };
        // The server inherits the streams: a pipe would never end.
        command.args(arguments).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{} {arguments:?}: {status}", program.display());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if fs::exists(format!("{}/postmaster.pid", self.data())).unwrap_or(false) {
            self.stop();
        }
    }
}

/// Returns the directory of PostgreSQL's programs, which Debian keeps out of the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let directories = versions.map(|version| version.path().join("bin"));
    let debian = directories.filter(|directory| directory.join("initdb").exists()).max();
    let path = ["/usr/local/bin", "/usr/bin"].map(PathBuf::from);
    let other = || path.into_iter().find(|directory| directory.join("initdb").exists());
    debian.or_else(other).expect("PostgreSQL is installed: on Debian the package `postgresql`")
}
