//! The servers that are compared, and the processes whose CPU time counts.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use rejoin_protocol::StreamNumber;
use serde_json::json;

use super::line::{Line, Readers};
use crate::client_pool::ClientPool;
use crate::clock;
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::frame;
use crate::machine;
use crate::pty::{COLS, ROWS, Terminal};
use crate::server::Server;
use crate::service::Service;
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

impl Audience {
    /// The connection that types.
    pub(super) const ONE: Self = Self { viewers: 1, stuck: 0 };
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
    Ttyd(Service),
    Rejoin { server: Box<Server>, audience: Audience },
}

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
        let service = Service::start("ttyd", |port| {
            let port = port.to_string();
            let options = ["-d", "0", "-W", "-i", "127.0.0.1", "-p", &port].map(str::to_owned);
            [&options[..], &program].concat()
        })?;
        Ok(Ok(Self { name: "ttyd".to_owned(), program, kind: Kind::Ttyd(service) }))
    }

    /// Starts rejoin.
    pub(super) fn rejoin(bytes: u64, audience: Audience) -> anyhow::Result<Self> {
        let program = program(bytes);
        let server = Server::rejoin(&profile(bytes))?;
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
            Kind::Ttyd(service) => {
                let endpoint = Endpoint::new(service.address, "/ws");
                let endpoint = Endpoint { protocol: Some("tty"), ..endpoint };
                let mut connection = Connection::open(&endpoint)?;
                let size = json!({"AuthToken": "", "columns": COLS, "rows": ROWS}).to_string();
                connection.send(frame::BINARY, size.as_bytes())?;
                Line::Ttyd(connection)
            }
            Kind::Rejoin { server, audience } => {
                let viewers = if has_all_viewers { *audience } else { Audience::ONE };
                return open_rejoin(server, viewers);
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
            Kind::Ttyd(service) => Ok(machine::cpu_time(service.id())? + machine::softirq_time()),
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

/// Opens a new terminal of a server that has the [`profile`].
pub(super) fn open_rejoin(server: &Server, audience: Audience) -> anyhow::Result<Line> {
    let mut connection = server.connect()?;
    let create = json!({"kind": "terminal", "profile": "speed", "cols": COLS, "rows": ROWS});
    let session = connection.request("create_session", &create)?["session"]["id"].clone();
    let stream = connection.request("attach", &json!({"session": session}))?["stream"].as_u64();
    let stream = StreamNumber(u32::try_from(stream.context("`attached` has no stream")?)?);
    let mut line = Line::Rejoin { connection, stream, readers: None };
    line.wait_until_ready()?;
    if audience.viewers < 2 {
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

/// Returns the settings of the profile whose program prints so many bytes.
pub(super) fn profile(bytes: u64) -> String {
    format!("[profiles.speed]\ncommand = {:?}\n", program(bytes))
}

fn program(bytes: u64) -> Vec<String> {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("rejoin-bench"));
    vec![program.display().to_string(), "speed-program".to_owned(), bytes.to_string()]
}
