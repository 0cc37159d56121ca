//! The server's connection to the keeper, on the keeper's side.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use crate::{
    log::{Cursor, Entry, Log, Record},
    wire::{Decoder, Message, Report, Request, header, output_head, output_to},
};

/// The number of pending bytes above which no more records are read from the log.
const MAX_PENDING_BYTES: usize = 256 * 1024;
/// The amount of unacknowledged output, in bytes, above which the program is paused.
const WINDOW_BYTES: u64 = 512 * 1024;

/// The connection to the server.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    decoder: Decoder,
    pending: Vec<u8>,
    /// The number of bytes of `pending` that are already sent.
    sent: usize,
    cursor: Option<Cursor>,
    acknowledged: u64,
}

impl Client {
    /// Creates the state of a new connection, and queues the greeting.
    pub(crate) fn new(stream: UnixStream, hello: &Report, next: u64) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let mut pending = header().to_vec();
        hello.encode(&mut pending);
        let decoder = Decoder::default();
        Ok(Self { stream, decoder, pending, sent: 0, cursor: None, acknowledged: next })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(crate) fn has_pending(&self) -> bool {
        self.sent < self.pending.len()
    }

    /// Returns `false` while the program should be paused because too much output is
    /// unacknowledged.
    pub(crate) fn takes_output(&self, next: u64) -> bool {
        next.saturating_sub(self.acknowledged) < WINDOW_BYTES
    }

    /// Receives requests.
    ///
    /// # Errors
    /// If the connection has ended or its bytes are invalid. The client must then be dropped.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Vec<Request>> {
        match self.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => self.decoder.receive(&buffer[..length]),
            Err(error) if is_temporary(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }

        let mut requests = Vec::new();
        while let Some(request) = self.decoder.decode().map_err(io::Error::other)? {
            requests.push(request);
        }
        Ok(requests)
    }

    pub(crate) fn send(&mut self, report: &Report) {
        report.encode(&mut self.pending);
    }

    pub(crate) fn follow(&mut self, log: &Log, offset: u64) {
        self.acknowledged = offset;
        self.cursor = Some(Cursor::new(log.directory(), offset));
    }

    pub(crate) fn acknowledge(&mut self, offset: u64) {
        self.acknowledged = self.acknowledged.max(offset);
    }

    /// Sends output that was just logged, if the client has everything before it. Otherwise the
    /// client gets it from the log later.
    pub(crate) fn pass_on(&mut self, log: &Log, offset: u64, bytes: &[u8]) {
        let has_room = self.pending.len() - self.sent < MAX_PENDING_BYTES;
        let follows = |cursor: &&mut Cursor| has_room && cursor.offset() == offset;
        let Some(cursor) = self.cursor.as_mut().filter(follows) else { return };
        if cursor.skip_output(log.end(), bytes.len()) {
            self.send_output(offset, bytes);
        }
    }

    /// Sends output, without a copy if nothing is pending. Keeps what the socket does not take.
    fn send_output(&mut self, offset: u64, bytes: &[u8]) {
        let head = output_head(offset, bytes.len());
        // The next flush returns an error, too.
        let sent = match self.has_pending() {
            true => 0,
            false => send_both(&self.stream, &head, bytes).unwrap_or(0),
        };
        self.pending.extend_from_slice(&head[sent.min(head.len())..]);
        self.pending.extend_from_slice(&bytes[sent.saturating_sub(head.len())..]);
    }

    /// Sends output that could not be written to the log, unless older output comes first.
    pub(crate) fn pass_on_unlogged(&mut self, offset: u64, bytes: &[u8]) {
        let Some(cursor) = self.cursor.as_mut().filter(|cursor| cursor.offset() == offset) else {
            return;
        };
        cursor.skip_to(offset + bytes.len() as u64);
        output_to(&mut self.pending, offset, bytes);
    }

    /// Adds records from the log until enough is pending, and sends what the socket takes.
    ///
    /// # Errors
    /// If the connection has ended or the log cannot be read. The client must then be dropped.
    pub(crate) fn flush(&mut self, log: &mut Log) -> io::Result<()> {
        loop {
            let is_filled = self.fill(log)?;
            if !self.write()? || is_filled {
                return Ok(());
            }
        }
    }

    /// Reads records from the log until enough is pending. Returns `true` at the end of the log.
    fn fill(&mut self, log: &mut Log) -> io::Result<bool> {
        while self.pending.len() - self.sent < MAX_PENDING_BYTES {
            let Some(cursor) = &mut self.cursor else { return Ok(true) };
            if cursor.is_at(log.end()) && cursor.offset() >= log.next() {
                return Ok(true);
            }
            let expected = cursor.offset();
            // Lists the directory only if there is a later segment.
            let is_last = cursor.is_in(log.end());
            let record = if is_last { cursor.read_here()? } else { cursor.read()? };
            let Some(Record { offset, entry }) = record else {
                // The rest of the log is lost, or was never written.
                if expected < log.next() {
                    log.end_segment();
                    cursor.skip_to(log.next());
                    self.lose(expected, log.next());
                }
                return Ok(true);
            };

            if offset > expected {
                self.lose(expected, offset);
            }
            match entry {
                Entry::Output(bytes) => output_to(&mut self.pending, offset, &bytes),
                Entry::Resized(size) => Report::Resized { offset, size }.encode(&mut self.pending),
                Entry::Exited(exit) => Report::Exited { offset, exit }.encode(&mut self.pending),
            }
        }
        Ok(false)
    }

    /// Reports output that is missing from the log. It counts as acknowledged, because otherwise a
    /// paused program would wait for its acknowledgement forever.
    fn lose(&mut self, from: u64, to: u64) {
        Report::Gap { offset: to }.encode(&mut self.pending);
        self.acknowledged = self.acknowledged.saturating_add(to - from);
    }

    /// Sends pending bytes. Returns `true` if none are left.
    fn write(&mut self) -> io::Result<bool> {
        while self.has_pending() {
            match self.stream.write(&self.pending[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(error) if is_temporary(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.pending.clear();
        // An idle keeper keeps only a small buffer.
        self.pending.shrink_to(4096);
        self.sent = 0;
        Ok(true)
    }
}

/// Sends two buffers with one system call. Returns the number of bytes that the socket took.
fn send_both(stream: &UnixStream, head: &[u8], bytes: &[u8]) -> rustix::io::Result<usize> {
    let buffers = [IoSlice::new(head), IoSlice::new(bytes)];
    sendmsg(stream, &buffers, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
