//! The bare loop: one thread, one `send()` per subscriber for each read of the publisher.
//!
//! It is the floor that a server is measured against. It has no authentication, no positions and
//! no retention. It loses nothing: it reads the publisher again once each subscriber has taken the
//! batch.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::ensure;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustls::ServerConfig;

use crate::report::say;
use crate::tls::{self, Files};
use crate::wire::Wire;

mod batch;
mod terminal;
mod upgrade;

use batch::Topic;
use upgrade::Path;

const EVENTS: usize = 1024;
/// The number of the listener; sockets count from 0.
const LISTENER: u64 = u64::MAX;

/// Text around the data, so that as many bytes travel as with the server beside it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long, default_value = "")]
    prefix: String,
    #[arg(long, default_value = "")]
    suffix: String,
    /// Read at once from the publisher; one read makes one batch
    #[arg(long, default_value_t = 16 * 1024)]
    read_bytes: usize,
    /// Compress each frame anew for each subscriber
    #[arg(long)]
    deflate: bool,
    /// Answer each published frame with a frame of this text
    #[arg(long)]
    ack: Option<String>,
    /// With more than one, published data begins with the number of its topic
    #[arg(long, default_value_t = 1)]
    topics: usize,
    /// Speak TLS with this certificate (PEM)
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
    /// Connect each WebSocket to a program in a terminal instead
    #[arg(long)]
    terminal: bool,
}

impl Options {
    fn tls(&self) -> anyhow::Result<Option<Arc<ServerConfig>>> {
        let (Some(certificate), Some(key)) = (&self.certificate, &self.key) else {
            return Ok(None);
        };
        let files = Files { certificate: certificate.clone(), key: key.clone() };
        tls::server_config(&files).map(Some)
    }
}

/// Listens on a free port of 127.0.0.1, prints the address, and serves until it is killed.
pub(crate) fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    say(listener.local_addr()?);
    if options.terminal {
        return terminal::serve(&listener);
    }
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut server = Loop {
        options,
        epoll,
        tls: options.tls()?,
        sockets: Vec::new(),
        topics: (0..options.topics.max(1)).map(|_| Topic::default()).collect(),
        touched: Vec::new(),
        acks: Vec::new(),
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
    tls: Option<Arc<ServerConfig>>,
    /// `None` for a socket that was closed.
    sockets: Vec<Option<Socket>>,
    topics: Vec<Topic>,
    /// Topics with frames in the current batch.
    touched: Vec<usize>,
    /// Acknowledgements that the publisher's socket has not taken.
    acks: Vec<u8>,
    /// Subscribers that have not taken all of the batch; the publisher is not read meanwhile.
    behind: usize,
    publisher: Option<usize>,
    scratch: Vec<u8>,
}

struct Socket {
    wire: Wire,
    role: Role,
    /// The events that epoll reports for this socket.
    watched: EventFlags,
}

enum Role {
    /// Holds the part of the request that has arrived.
    Upgrading(Vec<u8>),
    /// Has `left` bytes of its topic's batch to take.
    Subscriber { topic: usize, left: usize },
    /// Holds the part of a frame that has arrived.
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
            let wire = Wire::server(stream, self.tls.as_ref())?;
            let role = Role::Upgrading(Vec::new());
            self.sockets.push(Some(Socket { wire, role, watched: EventFlags::IN }));
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
        let count = match socket.wire.read(&mut self.scratch) {
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
                    let request = std::mem::take(request);
                    self.upgrade(index, &request)?;
                }
                Ok(())
            }
            Role::Publisher(rest) => {
                rest.extend_from_slice(bytes);
                for topic in self.touched.drain(..) {
                    self.topics[topic].batch.clear();
                }
                let taken =
                    batch::take_frames(rest, self.options, &mut self.topics, &mut self.touched)?;
                rest.drain(..taken.bytes);
                self.deliver()?;
                self.acknowledge(index, taken.frames)?;
                self.pace()
            }
            Role::Subscriber { .. } => Ok(()),
        }
    }

    fn upgrade(&mut self, index: usize, request: &[u8]) -> anyhow::Result<()> {
        let Some(socket) = &mut self.sockets[index] else { return Ok(()) };
        let (answer, path) = upgrade::answer(request, self.options.deflate)?;
        socket.wire.write_all(answer.as_bytes())?;
        socket.role = match path {
            Path::Publish => {
                self.publisher = Some(index);
                Role::Publisher(Vec::new())
            }
            Path::Subscribe(topic) => {
                ensure!(topic < self.topics.len(), "topic {topic} of {}", self.topics.len());
                self.topics[topic].subscribers.push(index);
                Role::Subscriber { topic, left: 0 }
            }
        };
        Ok(())
    }

    /// Sends each batch to the subscribers of its topic, with one write for each.
    fn deliver(&mut self) -> anyhow::Result<()> {
        for touched in &self.touched {
            let topic = &mut self.topics[*touched];
            let frames = if self.options.deflate { batch::split(&topic.batch) } else { Vec::new() };
            for &index in &topic.subscribers {
                if self.options.deflate {
                    // The bytes are the same each time, so a slow subscriber goes on in them.
                    batch::compress(&frames, &mut topic.batch);
                }
                let Some(socket) = &mut self.sockets[index] else { continue };
                let Role::Subscriber { left, .. } = &mut socket.role else { continue };
                *left = topic.batch.len();
                if send(&mut socket.wire, &topic.batch, left)? {
                    self.behind += 1;
                    socket.watch(&self.epoll, index, EventFlags::IN | EventFlags::OUT)?;
                }
            }
        }
        Ok(())
    }

    /// Acknowledges this many frames to the publisher, with one write.
    fn acknowledge(&mut self, publisher: usize, frames: usize) -> anyhow::Result<()> {
        let Some(text) = &self.options.ack else { return Ok(()) };
        for _ in 0..frames {
            crate::frame::write_plain(
                &mut self.acks,
                crate::frame::TEXT,
                [text.as_bytes(), b"", b""],
            );
        }
        self.send_acks(publisher)
    }

    fn send_acks(&mut self, publisher: usize) -> anyhow::Result<()> {
        let Some(socket) = &mut self.sockets[publisher] else { return Ok(()) };
        let mut left = self.acks.len();
        if left > 0 || socket.wire.wants_write() {
            send(&mut socket.wire, &self.acks, &mut left)?;
            self.acks.drain(..self.acks.len() - left);
        }
        Ok(())
    }

    fn catch_up(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(socket) = &mut self.sockets[index] else { return Ok(()) };
        match &mut socket.role {
            Role::Subscriber { topic, left } => {
                if !send(&mut socket.wire, &self.topics[*topic].batch, left)? {
                    self.behind -= 1;
                    socket.watch(&self.epoll, index, EventFlags::IN)?;
                }
            }
            Role::Publisher(_) => self.send_acks(index)?,
            Role::Upgrading(_) => {}
        }
        self.pace()
    }

    /// Reads the publisher while no socket is behind.
    fn pace(&mut self) -> anyhow::Result<()> {
        let Some(index) = self.publisher else { return Ok(()) };
        let Some(socket) = &mut self.sockets[index] else { return Ok(()) };
        let flags = if !self.acks.is_empty() || socket.wire.wants_write() {
            EventFlags::OUT
        } else if self.behind > 0 {
            EventFlags::empty()
        } else {
            EventFlags::IN
        };
        socket.watch(&self.epoll, index, flags)
    }

    fn remove(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(socket) = self.sockets[index].take() else { return Ok(()) };
        epoll::delete(&self.epoll, &socket.wire)?;
        match socket.role {
            Role::Subscriber { topic, .. } => {
                self.topics[topic].subscribers.retain(|subscriber| *subscriber != index);
                if socket.watched.contains(EventFlags::OUT) {
                    self.behind -= 1;
                }
            }
            Role::Publisher(_) => {
                self.publisher = None;
                self.acks.clear();
            }
            Role::Upgrading(_) => {}
        }
        self.pace()
    }
}

impl Socket {
    /// Changes the events that epoll reports, with a system call only if they differ.
    fn watch(&mut self, epoll: &OwnedFd, index: usize, flags: EventFlags) -> anyhow::Result<()> {
        if self.watched != flags {
            epoll::modify(epoll, &self.wire, EventData::new_u64(index as u64), flags)?;
            self.watched = flags;
        }
        Ok(())
    }
}

/// Sends the last `left` bytes as far as the socket takes them. Returns whether some remain.
///
/// A broken socket counts as served.
fn send(wire: &mut Wire, batch: &[u8], left: &mut usize) -> anyhow::Result<bool> {
    let result = match *left {
        0 => wire.flush().map(|()| 0),
        _ => wire.write(&batch[batch.len() - *left..]),
    };
    match result {
        Ok(count) => *left -= count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        Err(error) if is_broken(error.kind()) => {
            *left = 0;
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(*left > 0 || wire.wants_write())
}

fn is_broken(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}
