//! The server's connection to a keeper.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use rejoin_keeper::{
    Directory,
    wire::{Decoder, Hello, Message, Report, Request, header},
};
use tokio::{net::UnixStream, task::spawn_blocking, time::timeout};

/// The time within which a keeper must greet. A process that is stopped (SIGSTOP) never does.
const HELLO: Duration = Duration::from_secs(2);
/// The maximum size of a read, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// The number of unsent bytes above which no more requests are accepted.
const MAX_UNSENT_BYTES: usize = 64 * 1024;

/// A connection to a keeper that has greeted.
#[derive(Debug)]
pub(super) struct Connection {
    socket: UnixStream,
    decoder: Decoder,
    unsent: Vec<u8>,
    /// The number of bytes of `unsent` that are already sent.
    sent: usize,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to the keeper in a directory.
    pub(super) async fn open(directory: &Directory) -> io::Result<(Self, Hello)> {
        let late = |_| io::Error::new(ErrorKind::TimedOut, "the keeper does not answer");
        timeout(HELLO, Self::greet(directory.clone()))
            .await
            .unwrap_or_else(|error| Err(late(error)))
    }

    async fn greet(directory: Directory) -> io::Result<(Self, Hello)> {
        // Blocks if the keeper is stopped and the queue of its socket is full.
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

    /// Receives what has arrived. Returns `false` at the end of the connection.
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

    /// Returns the next report that has arrived completely.
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
        // Fails only if the keeper has ended.
        let _ = Directory::kill_keeper(&self.socket);
    }
}
