//! Attacks over HTTP: requests one after the other, on a few connections that stay.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::raid::Target;
use crate::clock;
use crate::report::Counts;

/// The first of many users, whose token the attacker has.
const USER: &str = "u0";
/// Connections that send requests, each from a thread of its own.
const CONNECTIONS: usize = 4;
/// Bytes of the data of one request.
const DATA_BYTES: usize = 60_000;
/// Limit for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked again and again, with a new name each time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flood {
    /// Events of 60 kB for devices that do not exist.
    Emits,
    /// Wrong requests of 60 kB, each with a new idempotency key.
    Keys,
}

impl Flood {
    /// Asks until it is to stop; what was answered, and the CPU time that it took.
    pub(super) fn run(
        self,
        target: &Target,
        stop: &AtomicBool,
    ) -> anyhow::Result<(Counts, Duration)> {
        let next = AtomicU64::new(0);
        let mut total = (Counts::default(), Duration::ZERO);
        let all = thread::scope(|scope| {
            let ask = || self.ask(target, stop, &next);
            let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(ask)).collect();
            let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
            joined.collect::<Result<Vec<_>, _>>()
        });
        for result in all.map_err(|_| anyhow!("the attacker panicked"))? {
            let (counts, cpu) = result?;
            total.0.join(&counts);
            total.1 += cpu;
        }
        Ok(total)
    }

    fn ask(
        self,
        target: &Target,
        stop: &AtomicBool,
        next: &AtomicU64,
    ) -> anyhow::Result<(Counts, Duration)> {
        let mut what = Counts::default();
        let mut socket = connect(target)?;
        let data = "x".repeat(DATA_BYTES);
        while !stop.load(Ordering::Relaxed) {
            let request = self.request(target, next.fetch_add(1, Ordering::Relaxed), &data);
            socket.get_mut().write_all(request.as_bytes())?;
            let (status, stays) = answer(&mut socket)?;
            what.add(&format!("answered {status}"));
            if !stays {
                socket = connect(target)?;
            }
        }
        Ok((what, clock::thread_cpu()))
    }

    fn request(self, target: &Target, number: u64, data: &str) -> String {
        let (path, key, body) = match self {
            Self::Emits => (
                format!("/api/v1/users/{USER}/devices/d{number}/emit"),
                String::new(),
                format!(r#"{{"event":"e","data":"{data}"}}"#),
            ),
            Self::Keys => (
                "/api/v1/sessions".to_owned(),
                format!("Idempotency-Key: k{number}\r\n"),
                format!(r#"{{"kind":"{data}"}}"#),
            ),
        };
        let (host, token) = (target.endpoint.address, &target.token);
        format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{key}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

fn connect(target: &Target) -> anyhow::Result<BufReader<TcpStream>> {
    let socket = TcpStream::connect(target.endpoint.address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(socket))
}

/// Reads an answer: its status, and whether the connection stays.
fn answer(socket: &mut BufReader<TcpStream>) -> anyhow::Result<(u16, bool)> {
    let (mut status, mut length, mut stays) = (None, 0, true);
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line)? == 0 {
            return Err(anyhow!("the server closed the connection without an answer"));
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            Some(("content-length", value)) => length = value.parse()?,
            Some(("connection", "close")) => stays = false,
            Some(_) => {}
            None => status = line.split(' ').nth(1).map(str::parse).transpose()?,
        }
    }
    std::io::copy(&mut socket.by_ref().take(length), &mut std::io::sink())?;
    Ok((status.context("an answer without a status")?, stays))
}
