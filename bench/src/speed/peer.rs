//! The servers that are compared, and the processes whose CPU time counts.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use rejoin_protocol::StreamNumber;
use serde_json::json;

use super::line::{Line, Readers};
use crate::client_pool::ClientPool;
use crate::clock::{self, Watchdog};
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::frame;
use crate::machine;
use crate::pty::{COLS, ROWS, Terminal};
use crate::server::Server;
use crate::tmux::Tmux;

const POLL: Duration = Duration::from_millis(50);

/// The viewers of a terminal of rejoin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Audience {
    /// Connections, the one that types included.
    pub(super) viewers: usize,
    /// Viewers that do not read.
    pub(super) stuck: usize,
}

/// A server that is measured.
pub(super) struct Peer {
    pub(super) name: String,
    program: Vec<String>,
    kind: Kind,
}

enum Kind {
    Bare,
    Tmux(Tmux),
    Ttyd { process: Process, address: SocketAddrV4 },
    Rejoin { server: Box<Server>, audience: Audience },
}

/// A process that ends with its value.
struct Process(Child);

/// The name of a program that is not installed.
type Missing = &'static str;

impl Peer {
    /// Returns a terminal whose reader throws output away.
    pub(super) fn bare(bytes: u64) -> Self {
        Self { name: "bare terminal".to_owned(), program: program(bytes), kind: Kind::Bare }
    }

    /// Starts tmux.
    pub(super) fn tmux(bytes: u64) -> anyhow::Result<Result<Self, Missing>> {
        if !Tmux::is_installed() {
            return Ok(Err("tmux"));
        }
        let (name, kind) = ("tmux".to_owned(), Kind::Tmux(Tmux::new()?));
        Ok(Ok(Self { name, program: program(bytes), kind }))
    }

    /// Starts ttyd, which starts the program for each connection.
    pub(super) fn ttyd(bytes: u64) -> anyhow::Result<Result<Self, Missing>> {
        if !machine::is_installed("ttyd") {
            return Ok(Err("ttyd"));
        }
        let program = program(bytes);
        // ttyd prints its port in a form that differs between versions.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new("ttyd");
        command.args(["-d", "0", "-W", "-i", "127.0.0.1", "-p", &port.to_string()]).args(&program);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process(command.spawn().context("cannot start ttyd")?);
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let mut watchdog = Watchdog::new();
        while TcpStream::connect(address).is_err() {
            clock::pause(POLL);
            watchdog.check(0, "connections to ttyd")?;
        }
        let name = "ttyd".to_owned();
        Ok(Ok(Self { name, program, kind: Kind::Ttyd { process, address } }))
    }

    /// Starts rejoin.
    pub(super) fn rejoin(bytes: u64, audience: Audience) -> anyhow::Result<Self> {
        let program = program(bytes);
        let server = Server::rejoin(&format!("[profiles.speed]\ncommand = {program:?}\n"))?;
        let name = match audience {
            Audience { viewers: 1, .. } => "rejoin, 1 viewer".to_owned(),
            Audience { viewers, stuck: 0 } => format!("rejoin, {viewers} viewers"),
            Audience { viewers, stuck } => format!("rejoin, {viewers} viewers, {stuck} stuck"),
        };
        let server = Box::new(server);
        Ok(Self { name, program, kind: Kind::Rejoin { server, audience } })
    }

    /// Opens a new terminal, with all viewers or with the one that types.
    pub(super) fn open(&self, has_all_viewers: bool) -> anyhow::Result<Line> {
        let mut line = match &self.kind {
            Kind::Bare => {
                let mut command = Command::new(&self.program[0]);
                Line::Terminal(Terminal::start(command.args(&self.program[1..]))?)
            }
            Kind::Tmux(tmux) => Line::Terminal(tmux.open(&self.program)?),
            Kind::Ttyd { address, .. } => {
                let endpoint = Endpoint { protocol: Some("tty"), ..Endpoint::new(*address, "/ws") };
                let mut connection = Connection::open(&endpoint)?;
                let size = json!({"AuthToken": "", "columns": COLS, "rows": ROWS}).to_string();
                connection.send(frame::BINARY, size.as_bytes())?;
                Line::Ttyd(connection)
            }
            Kind::Rejoin { server, audience } => {
                return open_rejoin(server, audience, has_all_viewers);
            }
        };
        line.wait_until_ready()?;
        Ok(line)
    }

    /// Returns the most memory that the server has used, in bytes, if it is rejoin.
    pub(super) fn peak_memory(&self) -> anyhow::Result<Option<u64>> {
        match &self.kind {
            Kind::Rejoin { server, .. } => Ok(Some(server.memory()?.peak)),
            _ => Ok(None),
        }
    }

    /// Returns the CPU time of the server, and of the keepers of its terminals.
    pub(super) fn cpu_time(&self) -> anyhow::Result<Duration> {
        match &self.kind {
            Kind::Bare => Ok(clock::thread_cpu()),
            Kind::Tmux(tmux) => machine::cpu_time(tmux.id()?),
            Kind::Ttyd { process, .. } => {
                Ok(machine::cpu_time(process.0.id())? + machine::softirq_time())
            }
            Kind::Rejoin { server, .. } => {
                let mut total = server.cpu_time()?;
                for keeper in server.keepers()? {
                    total += machine::cpu_time(keeper)?;
                }
                Ok(total)
            }
        }
    }
}

fn open_rejoin(
    server: &Server,
    audience: &Audience,
    has_all_viewers: bool,
) -> anyhow::Result<Line> {
    let mut connection = server.connect()?;
    let create = json!({"kind": "terminal", "profile": "speed", "cols": COLS, "rows": ROWS});
    let session = connection.request("create_session", &create)?["session"]["id"].clone();
    let stream = connection.request("attach", &json!({"session": session}))?["stream"].as_u64();
    let stream = StreamNumber(u32::try_from(stream.context("`attached` has no stream")?)?);
    let mut line = Line::Rejoin { connection, stream, readers: None };
    line.wait_until_ready()?;
    if !has_all_viewers || audience.viewers < 2 {
        return Ok(line);
    }

    let mut pool = ClientPool::new()?;
    let attach = json!({"session": session, "role": "viewer"});
    let endpoint = server.endpoint("/ws").with_request("attach", attach);
    pool.connect_all(&vec![endpoint; audience.viewers - 1])?;
    for number in 0..audience.stuck {
        pool.abandon(number)?;
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_over);
    let thread = thread::spawn(move || {
        while !flag.load(Ordering::Relaxed) {
            pool.poll_frames(POLL)?;
        }
        Ok(())
    });
    if let Line::Rejoin { readers, .. } = &mut line {
        *readers = Some(Readers { is_over, thread: Some(thread) });
    }
    Ok(line)
}

fn program(bytes: u64) -> Vec<String> {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("rejoin-bench"));
    vec![program.display().to_string(), "speed-program".to_owned(), bytes.to_string()]
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
