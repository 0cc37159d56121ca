//! Helpers: a keeper as a process, and a server that is connected to it.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use rejoin_keeper::{
    Directory,
    launch::{self, Launch, Started},
    log::{Cursor, Entry},
    wire::{Decoder, Exit, Hello, Input, Message, Report, Request, header},
};
use tempfile::TempDir;

/// Limit for an event that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Keeper {
    _home: TempDir,
    pub(crate) directory: Directory,
    pub(crate) process: Child,
}

impl Keeper {
    pub(crate) fn start(script: &str) -> Self {
        Self::launch(&launch(&["sh", "-c", script]))
    }

    pub(crate) fn launch(launch: &Launch) -> Self {
        let home = TempDir::new().unwrap();
        let directory = Directory::new(home.path().join("terminal"));
        directory.create().unwrap();
        let (process, started) = start(&directory, launch);
        assert!(matches!(started, Started::Running { .. }), "{started:?}");
        Self { _home: home, directory, process }
    }

    /// Reads all output and the exit from the log.
    pub(crate) fn logged(&self) -> (String, Option<Exit>) {
        let mut cursor = Cursor::new(self.directory.log(), 0);
        let (mut output, mut end) = (Vec::new(), None);
        while let Some(record) = cursor.read().unwrap() {
            match record.entry {
                Entry::Output(bytes) => output.extend(bytes),
                Entry::Exited(exit) => end = Some(exit),
                Entry::Resized(_) => {}
            }
        }
        (String::from_utf8_lossy(&output).into_owned(), end)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn launch(command: &[&str]) -> Launch {
    Launch {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        cwd: "/".to_owned(),
        cols: 80,
        rows: 24,
        log_bytes: 1024 * 1024,
        open_files: None,
        groups: None,
    }
}

pub(crate) fn start(directory: &Directory, launch: &Launch) -> (Child, Started) {
    let keeper = Path::new(env!("CARGO_BIN_EXE_rejoin-keeper"));
    launch::start(keeper, &[], directory, launch).unwrap()
}

pub(crate) struct Server {
    stream: UnixStream,
    decoder: Decoder,
}

impl Server {
    pub(crate) fn connect(keeper: &Keeper) -> (Self, Hello) {
        let mut stream = keeper.directory.connect().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&header()).unwrap();
        let mut server = Self { stream, decoder: Decoder::default() };
        let Some(Report::Hello(hello)) = server.report() else { panic!("no hello") };
        (server, hello)
    }

    pub(crate) fn hang_up(&mut self) {
        self.send(&Request::HangUp);
    }

    pub(crate) fn send(&mut self, request: &Request) {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        // A keeper that has reported the exit may be gone.
        let _ = self.stream.write_all(&bytes);
    }

    pub(crate) fn type_keyed(&mut self, number: u64, seq: u64, text: &str) {
        let key = Some((b"tab"[..].into(), seq));
        self.send(&Request::Input(Input { number, key, bytes: text.into() }));
    }

    /// Returns the next report; `None` at the end of the connection.
    pub(crate) fn report(&mut self) -> Option<Report> {
        loop {
            if let Some(report) = self.decoder.decode().unwrap() {
                return Some(report);
            }
            let mut buffer = [0; 4096];
            let length = self.stream.read(&mut buffer).unwrap();
            if length == 0 {
                return None;
            }
            self.decoder.receive(&buffer[..length]);
        }
    }

    /// Collects output until it contains `text`; returns it with the offset after it.
    pub(crate) fn output_until(&mut self, text: &str) -> (String, u64) {
        let (mut output, mut next) = (Vec::new(), None);
        loop {
            match self.report().expect("the keeper runs") {
                Report::Output { offset, bytes } => {
                    assert!(next.is_none_or(|next| next == offset), "a hole before {offset}");
                    next = Some(offset + bytes.len() as u64);
                    output.extend(bytes);
                    self.send(&Request::Acknowledge { offset: next.unwrap_or(0) });
                }
                Report::Exited { .. } => panic!("ended: {}", String::from_utf8_lossy(&output)),
                _ => {}
            }
            let tail = &output[output.len().saturating_sub(64 * 1024 + text.len())..];
            if String::from_utf8_lossy(tail).contains(text) {
                let output = String::from_utf8_lossy(&output).into_owned();
                return (output, next.unwrap_or(0));
            }
        }
    }

    pub(crate) fn until_exit(&mut self) -> Exit {
        loop {
            if let Report::Exited { exit, .. } = self.report().expect("an exit is reported") {
                return exit;
            }
        }
    }

    pub(crate) fn until_written(&mut self, number: u64) {
        while self.report() != Some(Report::Written { number }) {}
    }
}

pub(crate) fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}");
        thread::yield_now();
    }
}
