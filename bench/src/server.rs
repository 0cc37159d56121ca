//! A server under test: started as a process of its own, found by what it prints, ended with us.

use std::borrow::Cow;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Signal, getrlimit, kill_process, pidfd_open};
use rustls::ClientConfig;
use serde_json::json;
use tempfile::TempDir;

use crate::client::{Connection, Endpoint};
use crate::clock;
use crate::machine::{self, Memory};
use crate::tls::Identity;
use crate::token::Signer;
use crate::topics::Topics;

/// No pings, which connections that wait for their turn would not answer; and time for clients that
/// connect by thousands.
const LIMITS: &str = "\
connections_per_ip = { count = 0 }
heartbeat = \"10m\"
auth_timeout = \"2m\"
";
/// Keeps what a subscriber on a busy machine is behind, as the bare loop keeps it for each socket.
const TOPIC: &str = r#"
[topics."bench*"]
retain = { frames = 65536, bytes = "64MiB" }
"#;
/// Connections of a server under test at most: more than any benchmark opens by default.
const MAX_CONNECTIONS: u64 = 18_000;
/// File descriptors that the server wants besides those of its connections.
const OTHER_DESCRIPTORS: u64 = 2500;
/// Variables that would change the server's configuration begin like this.
const VARIABLES: &str = "REJOIN_";
/// What is in the server's folder.
const SETTINGS: &str = "rejoin.toml";
const LOG: &str = "log";
const DATA: &str = "data";

/// Who the connections of a benchmark are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Users {
    /// All of them the user who logs in.
    One,
    /// Each a user of its own.
    Distinct,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    /// How the tables call it.
    pub(crate) name: &'static str,
    child: Child,
    pub(crate) address: SocketAddrV4,
    /// Only rejoin has one; and only rejoin speaks its protocol.
    token: Option<String>,
    /// Its settings, its data and its log, removed at the end.
    folder: Option<TempDir>,
    /// The settings of clients, if the server speaks TLS.
    tls: Option<Arc<ClientConfig>>,
    /// True if each published message is answered.
    acknowledges: bool,
}

/// The section `limits` of a server under test: as many connections as file descriptors allow.
pub(crate) fn limits() -> String {
    let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let max = descriptors.saturating_sub(OTHER_DESCRIPTORS).clamp(1, MAX_CONNECTIONS);
    format!("max_connections = {max}\n{LIMITS}")
}

impl Server {
    /// Starts the bare loop, which wraps what it delivers in these bytes.
    pub(crate) fn bare(
        name: &'static str,
        prefix: &str,
        suffix: &str,
        read_bytes: usize,
    ) -> anyhow::Result<Self> {
        let read_bytes = read_bytes.to_string();
        Self::bare_with(
            name,
            &["--prefix", prefix, "--suffix", suffix, "--read-bytes", &read_bytes],
        )
    }

    /// Starts the bare loop with these arguments.
    pub(crate) fn bare_with(name: &'static str, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::bare_over(name, arguments, None)
    }

    /// Starts the bare loop with these arguments, and with TLS if there is an identity.
    pub(crate) fn bare_over(
        name: &'static str,
        arguments: &[&str],
        identity: Option<&Identity>,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare").args(arguments);
        if let Some(files) = identity.map(Identity::files) {
            command.arg("--certificate").arg(&files.certificate).arg("--key").arg(&files.key);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start the loop")?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("the loop says {line:?}"))?;
        let tls = identity.map(Identity::client);
        let acknowledges = arguments.contains(&"--ack");
        Ok(Self { name, child, address, token: None, folder: None, tls, acknowledges })
    }

    /// Starts `rejoin serve` with fresh data and these lines added to its configuration.
    pub(crate) fn rejoin(more: &str) -> anyhow::Result<Self> {
        Self::rejoin_limited(&limits(), more)
    }

    /// Starts `rejoin serve` with TLS if there is an identity.
    pub(crate) fn rejoin_over(identity: Option<&Identity>) -> anyhow::Result<Self> {
        let Some(identity) = identity else { return Self::rejoin("") };
        let files = identity.files();
        let more = format!(
            "[server]\ntls_certificate_file = {:?}\ntls_key_file = {:?}\n",
            files.certificate, files.key
        );
        let mut server = Self::rejoin(&more)?;
        server.tls = Some(identity.client());
        Ok(server)
    }

    /// The same with other limits than those of a benchmark: lines of the section `limits`.
    pub(crate) fn rejoin_limited(limits: &str, more: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let settings = format!("[limits]\n{limits}{TOPIC}{more}");
        fs::write(folder.path().join(SETTINGS), settings)?;
        let (child, address, token) = launch(folder.path(), "127.0.0.1:0")?;
        Ok(Self {
            name: "rejoin",
            child,
            address,
            token: Some(token),
            folder: Some(folder),
            tls: None,
            acknowledges: true,
        })
    }

    /// Asks it to stop, as an operator does.
    pub(crate) fn terminate(&self) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.child);
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// Waits for its end; `None` if it takes longer than this.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let process = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&clock::timespec(limit)))?;
        self.ended()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Starts it again with the same data at the same address, once it has ended.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        let folder = self.folder.as_ref().context("only rejoin is started again")?;
        let (child, _, token) = launch(folder.path(), &self.address.to_string())?;
        (self.child, self.token) = (child, Some(token));
        Ok(())
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        let read = |folder: &TempDir| fs::read_to_string(folder.path().join(LOG)).ok();
        self.folder.as_ref().and_then(read).unwrap_or_default()
    }

    /// Tokens for this many of its users; the login's, for one user, where all are the same.
    pub(crate) fn tokens(&self, users: Users, count: usize) -> anyhow::Result<Vec<String>> {
        let token = self.token.as_ref().context("only rejoin takes tokens")?;
        let folder = self.folder.as_ref().context("only rejoin has a secret")?;
        match users {
            Users::One => Ok(vec![token.clone(); count]),
            Users::Distinct => {
                let secret = fs::read(folder.path().join(DATA).join("secret"))?;
                let signer = Signer::new(secret.trim_ascii());
                Ok((0..count).map(|number| signer.sign(&format!("u{number}"))).collect())
            }
        }
    }

    /// A connection that may ask: authenticated where that is needed.
    pub(crate) fn connect(&self, index: usize) -> anyhow::Result<Connection> {
        match &self.token {
            Some(token) => self.connect_as(token, &self.endpoint("/ws"), index),
            None => Connection::open(&self.endpoint("/"), index),
        }
    }

    /// A connection of the user whose token this is.
    pub(crate) fn connect_as(
        &self,
        token: &str,
        endpoint: &Endpoint,
        index: usize,
    ) -> anyhow::Result<Connection> {
        let mut connection = Connection::open(endpoint, index)?;
        let result = connection.ask("authenticate", &json!({"token": token}))?;
        if result["authenticated"] != true {
            bail!("authentication by {} was refused: {result}", self.name);
        }
        Ok(connection)
    }

    /// Opens a connection that subscribes to its topic of these: number `index` of the client.
    pub(crate) fn subscribe(&self, index: usize, topics: Topics) -> anyhow::Result<Connection> {
        let topic = topics.topic_of(index as u64);
        if !self.speaks_rejoin() {
            return Connection::open(&self.endpoint(topics.path(topic)), index);
        }
        let mut connection = self.connect(index)?;
        connection.ask("subscribe", &json!({"topic": topics.name(topic)}))?;
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

    /// Returns true if it answers each published message.
    pub(crate) fn acknowledges(&self) -> bool {
        self.acknowledges
    }

    /// Its CPU time until now, with that of deferred network work.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        Ok(machine::cpu_time(self.child.id())? + machine::softirq_time())
    }

    /// Its memory now.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        machine::memory(self.child.id())
    }

    /// Returns the number of its open file descriptors.
    pub(crate) fn open_files(&self) -> anyhow::Result<u64> {
        machine::open_files(self.child.id())
    }

    /// Where it takes WebSockets.
    pub(crate) fn endpoint(&self, path: impl Into<Cow<'static, str>>) -> Endpoint {
        let protocol = self.speaks_rejoin().then_some("rejoin.v1");
        let (path, tls) = (path.into(), self.tls.clone());
        Endpoint { address: self.address, path, protocol, headers: String::new(), tls }
    }

    /// The login's token.
    pub(crate) fn token(&self) -> anyhow::Result<&str> {
        self.token.as_deref().context("only rejoin takes tokens")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the program in its folder; returns its address and an administrator's token.
fn launch(folder: &Path, listen: &str) -> anyhow::Result<(Child, SocketAddrV4, String)> {
    let log = folder.join(LOG);
    let mut child = program(folder, &["serve", "--listen", listen])?
        .stdout(Stdio::piped())
        .stderr(fs::File::options().create(true).append(true).open(&log)?)
        .spawn()
        .context("cannot start rejoin")?;
    let output = child.stdout.take().context("no output")?;
    let started = find_address(output).and_then(|address| match address {
        Some(address) => Ok((address, token(folder)?)),
        None => bail!("rejoin did not start: {}", fs::read_to_string(&log)?.trim()),
    });
    match started {
        Ok((address, token)) => Ok((child, address, token)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// The program with the data and the settings of a folder.
fn program(folder: &Path, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(rejoin_program()?);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(VARIABLES) {
            command.env_remove(name);
        }
    }
    command.args(arguments).arg("--data-dir").arg(folder.join(DATA));
    command.arg("--config").arg(folder.join(SETTINGS)).stdin(Stdio::null());
    Ok(command)
}

/// Makes an administrator's token with the secret of the server.
fn token(folder: &Path) -> anyhow::Result<String> {
    let arguments = ["token", "--user", "bench", "--admin", "--ttl", "1d"];
    let output = program(folder, &arguments)?.output()?;
    if !output.status.success() {
        bail!("no token: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
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

/// Reads until the address, then lets the rest run off so that the server never waits for us.
fn find_address(output: ChildStdout) -> anyhow::Result<Option<SocketAddrV4>> {
    let mut lines = BufReader::new(output);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if let Some(address) = address(&line) {
            thread::spawn(move || lines.read_to_end(&mut Vec::new()));
            return Ok(Some(address));
        }
    }
}

fn address(line: &str) -> Option<SocketAddrV4> {
    let (_, url) = line.split_once("serves ")?;
    url.split_once("://")?.1.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_its_line() {
        assert_eq!(address("rejoin 0.1.0 serves http://127.0.0.1:7400\n").unwrap().port(), 7400);
        assert!(address("rejoin 0.1.0 serves https://127.0.0.1:7400\n").is_some());
        assert_eq!(address("Log in: http://127.0.0.1:7400/#login=abc"), None);
    }
}
