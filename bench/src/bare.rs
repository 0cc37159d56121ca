//! The bare loop: one thread, one `send()` per subscriber for what one read of the publisher gave.
//!
//! It is the floor that a server is measured against, so it does nothing that a server may leave
//! out and still deliver: no topics, no authentication, no positions. Nothing is lost either: the
//! publisher is read again when each subscriber has taken the batch.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use rejoin_websocket::handshake::accept_deflate;
use rejoin_websocket::{accept_key, deflate};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;

use crate::frame::{self, Header};
use crate::report::say;

const EVENTS: usize = 1024;
/// The number of the listener; sockets count from 0.
const LISTENER: u64 = u64::MAX;

/// What is put around the data, so that as many bytes travel as with the server beside it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long, default_value = "")]
    prefix: String,
    #[arg(long, default_value = "")]
    suffix: String,
    /// Read at once from the publisher; what is in it makes one batch
    #[arg(long, default_value_t = 16 * 1024)]
    read_bytes: usize,
    /// Compress each frame anew for each subscriber
    #[arg(long)]
    deflate: bool,
}

/// Listens on a free port of 127.0.0.1, prints the address, and serves until it is killed.
pub(crate) fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    say(listener.local_addr()?);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut server = Loop {
        options,
        epoll,
        sockets: Vec::new(),
        batch: Vec::new(),
        frames: Vec::new(),
        behind: 0,
        publisher: None,
        scratch: vec![0; options.read_bytes],
    };
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        match epoll::wait(&server.epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => server.accept(&listener)?,
                index => server.turn(usize::try_from(index)?, event.flags)?,
            }
        }
    }
}

struct Loop<'a> {
    options: &'a Options,
    epoll: OwnedFd,
    /// Nothing where one has gone.
    sockets: Vec<Option<Socket>>,
    /// The frames that subscribers are taking.
    batch: Vec<u8>,
    /// The frames of the batch before they are compressed, if they are.
    frames: Vec<Bytes>,
    /// How many have not taken all of it; meanwhile the publisher is not read.
    behind: usize,
    publisher: Option<usize>,
    scratch: Vec<u8>,
}

struct Socket {
    stream: TcpStream,
    role: Role,
}

enum Role {
    /// Its request is not complete.
    Upgrading(Vec<u8>),
    /// Has this much of the batch yet to take.
    Subscriber { left: usize },
    /// With a frame that is not complete.
    Publisher(Vec<u8>),
}

impl Loop<'_> {
    fn accept(&mut self, listener: &TcpListener) -> anyhow::Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let data = EventData::new_u64(self.sockets.len() as u64);
            epoll::add(&self.epoll, &stream, data, EventFlags::IN)?;
            self.sockets.push(Some(Socket { stream, role: Role::Upgrading(Vec::new()) }));
        }
    }

    fn turn(&mut self, index: usize, flags: EventFlags) -> anyhow::Result<()> {
        if flags.contains(EventFlags::OUT) {
            self.catch_up(index)?;
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.read(index)?;
        }
        Ok(())
    }

    fn read(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(socket) = &mut self.sockets[index] else { return Ok(()) };
        let count = match socket.stream.read(&mut self.scratch) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => 0,
        };
        if count == 0 {
            return self.remove(index);
        }
        let bytes = &self.scratch[..count];
        match &mut socket.role {
            Role::Upgrading(request) => {
                request.extend_from_slice(bytes);
                if request.ends_with(b"\r\n\r\n") {
                    let (answer, role) = upgrade(request, self.options)?;
                    socket.stream.write_all(answer.as_bytes())?;
                    self.publisher = match role {
                        Role::Publisher(_) => Some(index),
                        _ => self.publisher,
                    };
                    socket.role = role;
                }
                Ok(())
            }
            Role::Publisher(rest) => {
                rest.extend_from_slice(bytes);
                self.batch.clear();
                let used = wrap_frames(rest, self.options, &mut self.batch);
                rest.drain(..used);
                if self.options.deflate {
                    self.frames = split(&self.batch);
                }
                self.broadcast()
            }
            Role::Subscriber { .. } => Ok(()),
        }
    }

    fn broadcast(&mut self) -> anyhow::Result<()> {
        for index in 0..self.sockets.len() {
            if self.options.deflate {
                // The same bytes each time, so those who are behind in them may go on.
                compress(&self.frames, &mut self.batch);
            }
            let Some(socket) = &mut self.sockets[index] else { continue };
            if let Role::Subscriber { left } = &mut socket.role {
                *left = self.batch.len();
                send(&mut socket.stream, &self.batch, left)?;
                if *left > 0 {
                    self.behind += 1;
                    self.watch(index, EventFlags::IN | EventFlags::OUT)?;
                }
            }
        }
        self.pace(self.behind > 0)
    }

    fn catch_up(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(socket) = &mut self.sockets[index] else { return Ok(()) };
        let Role::Subscriber { left } = &mut socket.role else { return Ok(()) };
        send(&mut socket.stream, &self.batch, left)?;
        if *left == 0 {
            self.behind -= 1;
            self.watch(index, EventFlags::IN)?;
            self.pace(self.behind > 0)?;
        }
        Ok(())
    }

    /// Reads the publisher, or does not, which makes it wait.
    fn pace(&self, wait: bool) -> anyhow::Result<()> {
        let Some(publisher) = self.publisher else { return Ok(()) };
        self.watch(publisher, if wait { EventFlags::empty() } else { EventFlags::IN })
    }

    fn watch(&self, index: usize, flags: EventFlags) -> anyhow::Result<()> {
        let Some(socket) = &self.sockets[index] else { return Ok(()) };
        Ok(epoll::modify(&self.epoll, &socket.stream, EventData::new_u64(index as u64), flags)?)
    }

    fn remove(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(socket) = self.sockets[index].take() else { return Ok(()) };
        epoll::delete(&self.epoll, &socket.stream)?;
        match socket.role {
            Role::Subscriber { left: 1.. } => self.behind -= 1,
            Role::Publisher(_) => self.publisher = None,
            _ => return Ok(()),
        }
        self.pace(self.behind > 0)
    }
}

/// Sends the last `left` bytes as far as the socket takes them; a broken one counts as served.
fn send(stream: &mut TcpStream, batch: &[u8], left: &mut usize) -> anyhow::Result<()> {
    match stream.write(&batch[batch.len() - *left..]) {
        Ok(count) => *left -= count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        Err(error) if is_broken(error.kind()) => *left = 0,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn is_broken(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// Unmasks the complete frames and appends each, wrapped; how many bytes they were.
fn wrap_frames(bytes: &mut [u8], options: &Options, batch: &mut Vec<u8>) -> usize {
    let mut used = 0;
    while let Some(header) = Header::read(&bytes[used..]) {
        let payload = &mut bytes[used + header.start..used + header.end];
        if let Some(key) = header.mask {
            frame::unmask(payload, key);
        }
        if header.opcode == frame::TEXT {
            let parts = [options.prefix.as_bytes(), payload, options.suffix.as_bytes()];
            frame::write_plain(batch, frame::TEXT, parts);
        }
        used += header.end;
    }
    used
}

fn split(mut batch: &[u8]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    while let Some(header) = Header::read(batch) {
        let (frame, rest) = batch.split_at(header.end);
        frames.push(Bytes::copy_from_slice(frame));
        batch = rest;
    }
    frames
}

fn compress(frames: &[Bytes], batch: &mut Vec<u8>) {
    batch.clear();
    for frame in frames {
        batch.extend_from_slice(&deflate(frame).unwrap_or_else(|| frame.clone()));
    }
}

fn upgrade(request: &[u8], options: &Options) -> anyhow::Result<(String, Role)> {
    let request = std::str::from_utf8(request).context("the request is no text")?;
    let key = request
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .context("the request has no key")?;
    let role = match request.split(' ').nth(1) {
        Some("/subscribe") => Role::Subscriber { left: 0 },
        Some("/publish") => Role::Publisher(Vec::new()),
        path => bail!("the loop has no {path:?}"),
    };
    let offers: &[&[u8]] = if options.deflate { &[b"permessage-deflate"] } else { &[] };
    let extensions = accept_deflate(offers.iter().copied())
        .map_or_else(String::new, |agreed| format!("Sec-WebSocket-Extensions: {agreed}\r\n"));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n{extensions}\r\n",
        accept_key(key.1.trim())
    );
    Ok((answer, role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_unmasked_and_wrapped_and_a_half_one_waits() {
        let (prefix, suffix) = ("<".to_owned(), ">".to_owned());
        let options = Options { prefix, suffix, read_bytes: 0, deflate: false };
        let mut bytes = Vec::new();
        frame::write_masked(&mut bytes, frame::TEXT, b"one");
        frame::write_masked(&mut bytes, frame::TEXT, b"two");
        let whole = bytes.len();
        frame::write_masked(&mut bytes, frame::TEXT, b"three");
        bytes.pop();
        let mut batch = Vec::new();
        assert_eq!(wrap_frames(&mut bytes, &options, &mut batch), whole);
        assert_eq!(batch, b"\x81\x05<one>\x81\x05<two>");
    }

    #[test]
    fn each_frame_of_a_batch_is_compressed_by_itself() {
        let mut batch = Vec::new();
        let text = "again and again, ".repeat(100);
        frame::write_plain(&mut batch, frame::TEXT, [text.as_bytes(), b"", b""]);
        frame::write_plain(&mut batch, frame::TEXT, [b"short", b"", b""]);
        let frames = split(&batch);
        let whole = batch.len();
        compress(&frames, &mut batch);
        assert!(batch.len() < whole / 5);
        let first = Header::read(&batch).unwrap();
        assert!(first.is_compressed);
        assert_eq!(&batch[first.end..], b"\x81\x05short");
    }
}
