//! A server under test, in a process of its own that ends with the benchmark.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Signal, getrlimit, kill_process, pidfd_open};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clock;
use crate::connection::{Connection, Size};
use crate::endpoint::Endpoint;
use crate::machine::{self, Memory};
use crate::tls::{self, Identity};
use crate::topics::Topics;

mod launch;

use launch::{DATA, LOG, SETTINGS, find_address, launch};
pub(crate) use launch::{profile, program};

/// No pings, because a blocking connection does not answer them while it waits for its turn; and
/// enough time for thousands of clients that connect at once.
const LIMITS: &str = "\
connections_per_ip = { count = 0 }
heartbeat = \"10m\"
auth_timeout = \"2m\"
";
/// Retains what a slow subscriber has not read, as the bare loop does for each socket.
const TOPIC: &str = r#"
[topics."bench*"]
retain = { frames = 65536, bytes = "64MiB" }
"#;
/// The connection limit of a server under test: more than any benchmark opens by default.
const MAX_CONNECTIONS: u64 = 18_000;
/// File descriptors of the server that are not connections.
const OTHER_DESCRIPTORS: u64 = 2500;
/// The time between two looks at the title of a terminal.
const POLL: Duration = Duration::from_millis(200);
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The users of a benchmark's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Users {
    /// One administrator for all connections.
    One,
    /// A user for each connection.
    Distinct,
}

/// A running server: rejoin, or the bare loop that it is compared with.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddrV4,
    /// Set if the server speaks TLS.
    tls: Option<Arc<ClientConfig>>,
    acknowledges: bool,
    /// Set for rejoin; the bare loop has neither files nor authentication.
    rejoin: Option<Rejoin>,
}

#[derive(Debug)]
struct Rejoin {
    /// Holds the settings, the data and the log. Removed on drop.
    folder: TempDir,
    /// An administrator's token.
    token: String,
}

/// Returns the section `limits` of a server under test.
pub(crate) fn limits() -> String {
    let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let max = descriptors.saturating_sub(OTHER_DESCRIPTORS).clamp(1, MAX_CONNECTIONS);
    format!("max_connections = {max}\n{LIMITS}")
}

/// Returns limits for so many connections, authenticated or not.
pub(crate) fn limits_of(connections: usize) -> String {
    format!("max_connections = {connections}\nmax_handshakes = {connections}\n{LIMITS}")
}

impl Server {
    /// Starts the bare loop with these arguments, and with TLS if there is an identity.
    pub(crate) fn bare(arguments: &[&str], identity: Option<&Identity>) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare").args(arguments);
        if let Some(identity) = identity {
            command.arg("--tls").arg(identity.folder());
        }

        let mut child =
            command.stdout(Stdio::piped()).spawn().context("cannot start the bare loop")?;
        let address = find_address(&mut child)?.context("the bare loop did not start")?;
        let tls = identity.map(Identity::client);
        Ok(Self { child, address, tls, acknowledges: arguments.contains(&"--ack"), rejoin: None })
    }

    /// Starts `rejoin serve` with fresh data and these additional sections of settings.
    pub(crate) fn rejoin(settings: &str) -> anyhow::Result<Self> {
        Self::rejoin_limited(&limits(), settings)
    }

    /// Starts `rejoin serve`, with TLS if there is an identity.
    pub(crate) fn rejoin_over(identity: Option<&Identity>) -> anyhow::Result<Self> {
        let Some(identity) = identity else { return Self::rejoin("") };
        let (certificate, key) = tls::files(identity.folder());
        let settings =
            format!("[server]\ntls_certificate_file = {certificate:?}\ntls_key_file = {key:?}\n");
        let mut server = Self::rejoin(&settings)?;
        server.tls = Some(identity.client());
        Ok(server)
    }

    /// Starts `rejoin serve` with these lines in the section `limits`.
    pub(crate) fn rejoin_limited(limits: &str, settings: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let settings = format!("[limits]\n{limits}{TOPIC}{settings}");
        fs::write(folder.path().join(SETTINGS), settings)?;

        let (child, address) = launch(&program()?, folder.path(), "127.0.0.1:0")?;
        // From here on, an error drops the server and thereby ends its process.
        let mut server = Self { child, address, tls: None, acknowledges: true, rejoin: None };
        let mut rejoin = Rejoin { folder, token: String::new() };
        rejoin.token = rejoin.sign(&[("bench".to_owned(), json!({"admin": true}))])?.remove(0);
        server.rejoin = Some(rejoin);
        Ok(server)
    }

    /// Returns the name of the server in tables.
    pub(crate) fn name(&self) -> &'static str {
        if self.speaks_rejoin() { "rejoin" } else { "bare loop" }
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.child);
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// Waits for the end of the process. Returns `None` after the limit.
    pub(crate) fn wait(&mut self, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
        // A pidfd becomes readable when the process ends, so no polling is needed.
        let process = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&clock::timespec(limit)))?;
        self.exit_status()
    }

    /// Returns the exit status if the process has ended.
    pub(crate) fn exit_status(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Ends the server as a crash does, and waits for its end.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts the server again with the same data and address. The process must have ended.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.restart_as(&program()?)
    }

    /// Starts another build of the server, as [`Server::restart`] does.
    pub(crate) fn restart_as(&mut self, program: &Path) -> anyhow::Result<()> {
        let address = self.address.to_string();
        (self.child, _) = launch(program, self.as_rejoin()?.folder.path(), &address)?;
        Ok(())
    }

    /// Starts the server again, and kills it after `delay`, whatever it does by then.
    pub(crate) fn crash_start(&mut self, delay: Duration) -> anyhow::Result<()> {
        let address = self.address.to_string();
        self.child = launch::spawn(&program()?, self.folder()?, &address)?;
        clock::pause(delay);
        self.kill()
    }

    /// Replaces the additional sections of settings, from the next start on.
    pub(crate) fn reconfigure(&self, settings: &str) -> anyhow::Result<()> {
        let settings = format!("[limits]\n{}{TOPIC}{settings}", limits());
        Ok(fs::write(self.folder()?.join(SETTINGS), settings)?)
    }

    /// Ends the programs of all terminals, which outlive the server.
    pub(crate) fn end_terminals(&self) {
        let Ok(folder) = self.folder() else { return };
        let data = folder.join(DATA);
        if data.join("terminals").exists()
            && let Ok(program) = program()
        {
            let mut command = Command::new(program);
            command.current_dir(folder).args(["kill", "--all", "--data-dir"]);
            let _ = command.arg(data).output();
        }
    }

    /// Returns the folder with the server's files; programs may write there.
    pub(crate) fn folder(&self) -> anyhow::Result<&Path> {
        Ok(self.as_rejoin()?.folder.path())
    }

    /// Returns the server's data directory.
    pub(crate) fn data(&self) -> anyhow::Result<PathBuf> {
        Ok(self.folder()?.join(DATA))
    }

    /// Returns the log; empty for the bare loop.
    pub(crate) fn log(&self) -> String {
        let read = |rejoin: &Rejoin| fs::read_to_string(rejoin.folder.path().join(LOG)).ok();
        self.rejoin.as_ref().and_then(read).unwrap_or_default()
    }

    /// Returns the administrator's token.
    pub(crate) fn token(&self) -> anyhow::Result<&str> {
        Ok(&self.as_rejoin()?.token)
    }

    /// Returns a token for each of `count` connections.
    pub(crate) fn tokens(&self, users: Users, count: usize) -> anyhow::Result<Vec<String>> {
        match users {
            Users::One => Ok(vec![self.token()?.to_owned(); count]),
            Users::Distinct => {
                // Without `caps`, a user has the rights that a token has by default.
                let users = (0..count).map(|number| (format!("u{number}"), Value::Null));
                self.as_rejoin()?.sign(&users.collect::<Vec<_>>())
            }
        }
    }

    fn as_rejoin(&self) -> anyhow::Result<&Rejoin> {
        self.rejoin.as_ref().context("the bare loop has no tokens and no data")
    }

    /// Opens a connection of the administrator.
    pub(crate) fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(&self.endpoint("/ws"))
    }

    /// Starts a terminal, and waits until its program sets this title. Returns its session.
    pub(crate) fn print(&self, profile: &str, size: Size, title: &str) -> anyhow::Result<Value> {
        let mut connection = self.connect()?;
        let session = connection.create_terminal(profile, size)?;
        let attach = json!({"session": session, "role": "viewer"});
        // Not attached meanwhile: a reader would slow the program.
        while connection.request("attach", &attach)?["title"] != title {
            connection.request("detach", &json!({"session": session}))?;
            clock::pause(POLL);
        }
        Ok(session)
    }

    /// Returns the endpoint at which a connection receives a topic.
    pub(crate) fn subscriber(&self, topic: usize) -> Endpoint {
        match self.speaks_rejoin() {
            true => self
                .endpoint("/ws")
                .with_request("subscribe", json!({"topic": Topics::name(topic)})),
            false => self.endpoint(Topics::path(topic)),
        }
    }

    /// Returns the endpoint at which a connection publishes.
    pub(crate) fn publisher(&self) -> Endpoint {
        self.endpoint(if self.speaks_rejoin() { "/ws" } else { "/publish" })
    }

    /// Returns whether the server takes messages of `rejoin.v1`, and not only data.
    pub(crate) fn speaks_rejoin(&self) -> bool {
        self.rejoin.is_some()
    }

    /// Returns whether the server acknowledges each published message.
    pub(crate) fn acknowledges(&self) -> bool {
        self.acknowledges
    }

    /// Returns the CPU time of the server so far, with deferred network work of the kernel.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        Ok(machine::cpu_time(self.child.id())? + machine::softirq_time())
    }

    /// Returns the process ids of the keepers of its terminals.
    pub(crate) fn keepers(&self) -> anyhow::Result<Vec<u32>> {
        machine::processes("rejoin-keeper", &self.as_rejoin()?.folder.path().join(DATA))
    }

    /// Returns the private memory of the server, in bytes.
    pub(crate) fn private_bytes(&self) -> anyhow::Result<u64> {
        machine::private_bytes(self.child.id())
    }

    /// Returns the memory of the server.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        machine::memory(self.child.id())
    }

    /// Returns the number of open file descriptors of the server.
    pub(crate) fn open_files(&self) -> anyhow::Result<u64> {
        machine::open_files(self.child.id())
    }

    /// Returns the endpoint of a WebSocket path, for the administrator.
    pub(crate) fn endpoint(&self, path: impl Into<String>) -> Endpoint {
        Endpoint {
            protocol: self.speaks_rejoin().then_some(rejoin_protocol::SUBPROTOCOL),
            token: self.rejoin.as_ref().map(|rejoin| rejoin.token.clone()),
            tls: self.tls.clone(),
            ..Endpoint::new(self.address, path)
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.end_terminals();
    }
}

impl Rejoin {
    /// Signs a token for each user with the secret that the server made for itself.
    fn sign(&self, users: &[(String, Value)]) -> anyhow::Result<Vec<String>> {
        let secret = fs::read(self.folder.path().join(DATA).join("secret"))?;
        // The server writes its secret with a line end.
        let key = EncodingKey::from_secret(secret.trim_ascii());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = (now + TOKEN_LIFETIME).as_secs();

        let sign = |(user, caps): &(String, Value)| {
            let mut claims = json!({"sub": user, "exp": expires});
            if !caps.is_null() {
                claims["caps"] = caps.clone();
            }
            Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
        };
        users.iter().map(sign).collect()
    }
}
