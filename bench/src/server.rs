//! A server under test: started as a process of its own, found by what it prints, ended with us.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::json;
use tempfile::TempDir;

use crate::client::{Connection, Endpoint};
use crate::machine::{self, Memory};

/// More connections than any benchmark opens by default; no pings, which those who wait for their
/// turn would not answer; and a topic that keeps what a subscriber on a busy machine is behind,
/// as the bare loop keeps it for each socket.
const CONFIGURATION: &str = "\
[limits]
max_connections = 100000
connections_per_ip = { count = 0 }
heartbeat = \"10m\"
[topics.bench]
retain = { frames = 65536, bytes = \"64MiB\" }
";
/// Variables that would change the server's configuration begin like this.
const VARIABLES: &str = "REJOIN_";

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    /// How the tables call it.
    pub(crate) name: &'static str,
    child: Child,
    address: SocketAddrV4,
    /// Only rejoin has one; and only rejoin speaks its protocol.
    token: Option<String>,
    /// Its data and its log, removed at the end.
    _folder: Option<TempDir>,
}

impl Server {
    /// Starts the bare loop, which wraps what it delivers in these bytes.
    pub(crate) fn bare(
        name: &'static str,
        prefix: &str,
        suffix: &str,
        read_bytes: usize,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bare", "--prefix", prefix, "--suffix", suffix]);
        command.args(["--read-bytes", &read_bytes.to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start the loop")?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("the loop says {line:?}"))?;
        Ok(Self { name, child, address, token: None, _folder: None })
    }

    /// Starts `rejoin serve` with fresh data and these lines added to its configuration.
    pub(crate) fn rejoin(more: &str) -> anyhow::Result<Self> {
        let program = rejoin_program()?;
        let folder = tempfile::tempdir()?;
        let (settings, log) = (folder.path().join("rejoin.toml"), folder.path().join("log"));
        fs::write(&settings, format!("{CONFIGURATION}{more}"))?;
        let mut command = Command::new(&program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(VARIABLES) {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path().join("data"))
            .arg("--config")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let output = child.stdout.take().context("no output")?;
        let Some((address, token)) = find_login(output)? else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("rejoin did not start: {}", fs::read_to_string(&log)?.trim());
        };
        let token = Some(token);
        Ok(Self { name: "rejoin", child, address, token, _folder: Some(folder) })
    }

    /// A connection that may ask: authenticated where that is needed.
    pub(crate) fn connect(&self, index: usize) -> anyhow::Result<Connection> {
        let Some(token) = &self.token else {
            return Connection::open(&self.endpoint("/"), index);
        };
        let mut connection = Connection::open(&self.endpoint("/ws"), index)?;
        let result = connection.ask("authenticate", &json!({"token": token}))?;
        if result["authenticated"] != true {
            bail!("authentication was refused: {result}");
        }
        Ok(connection)
    }

    /// A connection that gets what is published.
    pub(crate) fn subscribe(&self, index: usize) -> anyhow::Result<Connection> {
        if !self.speaks_rejoin() {
            return Connection::open(&self.endpoint("/subscribe"), index);
        }
        let mut connection = self.connect(index)?;
        connection.ask("subscribe", &json!({"topic": "bench"}))?;
        Ok(connection)
    }

    /// A connection that publishes.
    pub(crate) fn publisher(&self) -> anyhow::Result<Connection> {
        if self.speaks_rejoin() {
            self.connect(0)
        } else {
            Connection::open(&self.endpoint("/publish"), 0)
        }
    }

    /// Whether it wants messages of rejoin's protocol, or just data.
    pub(crate) fn speaks_rejoin(&self) -> bool {
        self.token.is_some()
    }

    /// Its CPU time until now.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        machine::cpu_time(self.child.id())
    }

    /// Its memory now.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        machine::memory(self.child.id())
    }

    fn endpoint(&self, path: &'static str) -> Endpoint {
        let protocol = self.speaks_rejoin().then_some("rejoin.v1");
        Endpoint { address: self.address, path, protocol }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server is built beside this program.
fn rejoin_program() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let program = here.parent().unwrap_or(Path::new(".")).join("rejoin");
    if !program.is_file() {
        bail!("{} is missing; `cargo xtask bench` builds it", program.display());
    }
    Ok(program)
}

/// Reads until the login link, then lets the rest run off so that the server never waits for us.
fn find_login(output: ChildStdout) -> anyhow::Result<Option<(SocketAddrV4, String)>> {
    let mut lines = BufReader::new(output);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if let Some(login) = login(&line) {
            thread::spawn(move || lines.read_to_end(&mut Vec::new()));
            return Ok(Some(login));
        }
    }
}

fn login(line: &str) -> Option<(SocketAddrV4, String)> {
    let (_, link) = line.split_once("http://")?;
    let (address, token) = link.split_once("/#login=")?;
    Some((address.parse().ok()?, token.split_whitespace().next()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_link_is_found_in_its_line() {
        let (address, token) = login("  open http://127.0.0.1:7400/#login=a.b-c now\n").unwrap();
        assert_eq!((address.port(), token.as_str()), (7400, "a.b-c"));
        assert_eq!(login("listening on http://127.0.0.1:7400/"), None);
    }
}
