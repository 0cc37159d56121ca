//! The connection to a keeper.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use rejoin_keeper::{
    Directory,
    wire::{Decoder, Hello, Message, Report, Request, header},
};
use tokio::{net::UnixStream, task::spawn_blocking, time::timeout};

/// Time for a keeper to greet. A stopped process does not.
const HELLO: Duration = Duration::from_secs(2);
/// The largest read, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// Unsent bytes above which no more requests are taken.
const MAX_UNSENT_BYTES: usize = 64 * 1024;

/// A connection to a keeper that has greeted.
#[derive(Debug)]
pub(super) struct Connection {
    socket: UnixStream,
    decoder: Decoder,
    unsent: Vec<u8>,
    /// Bytes of `unsent` that were sent.
    sent: usize,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to the keeper of a directory.
    pub(super) async fn open(directory: &Directory) -> io::Result<(Self, Hello)> {
        let late = |_| io::Error::new(ErrorKind::TimedOut, "the keeper does not answer");
        timeout(HELLO, Self::greet(directory.clone()))
            .await
            .unwrap_or_else(|error| Err(late(error)))
    }

    async fn greet(directory: Directory) -> io::Result<(Self, Hello)> {
        // Blocks if the queue of a stopped keeper's socket is full.
        let socket = spawn_blocking(move || directory.connect()).await??;
        socket.set_nonblocking(true)?;
        let mut connection = Self {
            socket: UnixStream::from_std(socket)?,
            decoder: Decoder::default(),
            unsent: header().to_vec(),
            sent: 0,
            buffer: vec![0; READ_BYTES],
        };

        connection.flush()?;
        loop {
            match connection.next_report()? {
                Some(Report::Hello(hello)) => return Ok((connection, hello)),
                Some(_) => return Err(io::Error::other("the keeper does not greet")),
                None => {}
            }
            connection.readable().await?;
            if !connection.receive()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Waits until a read may succeed. Cancel safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Waits until a write may succeed. Cancel safe.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Receives what has arrived; returns `false` at the end of the connection.
    pub(super) fn receive(&mut self) -> io::Result<bool> {
        match self.socket.try_read(&mut self.buffer) {
            Ok(0) => Ok(false),
            Ok(length) => {
                self.decoder.receive(&self.buffer[..length]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Returns the next report that has arrived.
    pub(super) fn next_report(&mut self) -> io::Result<Option<Report>> {
        self.decoder.decode().map_err(io::Error::other)
    }

    /// Queues a request for [`flush`](Self::flush).
    pub(super) fn send(&mut self, request: &Request) {
        request.encode(&mut self.unsent);
    }

    /// Returns `true` while more requests may be queued.
    pub(super) fn has_room(&self) -> bool {
        self.unsent.len() - self.sent < MAX_UNSENT_BYTES
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.has_unsent() {
            match self.socket.try_write(&self.unsent[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.unsent.clear();
        self.unsent.shrink_to(4096);
        self.sent = 0;
        Ok(())
    }

    /// Kills the keeper.
    pub(super) fn kill(&self) {
        // An error means that it has ended.
        let _ = Directory::kill_keeper(&self.socket);
    }
}
