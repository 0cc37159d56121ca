//! The bare loop: one thread, one `send()` per subscriber for each read of the publisher.
//!
//! Servers are measured against it. It has no authentication, no positions and no retention. It
//! loses nothing: it reads the publisher again once each subscriber has accepted the batch.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::ensure;
use rejoin_websocket::{Decoder, Side};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustls::ServerConfig;

use crate::frame;
use crate::report::print_line;
use crate::tls;
use crate::transport::Transport;

mod batch;
mod terminal;
mod upgrade;

use batch::Topic;

/// Epoll events per poll.
const EVENTS: usize = 1024;
/// Bytes per read. One read of the publisher makes one batch, so this bounds the batches.
const READ_BYTES: usize = 16 * 1024;
/// The epoll data of the listener; that of a socket is its index.
const LISTENER: u64 = u64::MAX;

/// The bytes that the loop delivers and acknowledges, so that they equal those of rejoin.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Text before the data
    #[arg(long, default_value = "")]
    prefix: String,
    /// Text after the data
    #[arg(long, default_value = "")]
    suffix: String,
    /// Compress each frame for each subscriber
    #[arg(long)]
    deflate: bool,
    /// Answer each published frame with a frame of this text
    #[arg(long)]
    ack: Option<String>,
    /// The number of topics; published data starts with the number of its topic
    #[arg(long, default_value_t = 1)]
    topics: usize,
    /// Use TLS with the certificate and the key in this folder
    #[arg(long, value_name = "FOLDER")]
    tls: Option<PathBuf>,
    /// Connect each WebSocket to a program in a terminal instead
    #[arg(long)]
    terminal: bool,
}

/// Listens on a free port of 127.0.0.1, prints the address, and serves until it is killed.
pub(crate) fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    print_line(format_args!("the bare loop serves ws://{}", listener.local_addr()?));
    if options.terminal {
        return terminal::serve(&listener);
    }

    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    // Level-triggered, so that `accept` may leave connections for the next poll.
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut server = Loop {
        options,
        epoll,
        tls: options.tls.as_deref().map(tls::server_config).transpose()?,
        sockets: Vec::new(),
        topics: (0..options.topics.max(1)).map(|_| Topic::default()).collect(),
        touched: Vec::new(),
        acks: Vec::new(),
        behind: 0,
        publisher: None,
        scratch: vec![0; READ_BYTES],
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
                index => server.handle_event(usize::try_from(index)?, event.flags)?,
            }
        }
    }
}

struct Loop<'a> {
    options: &'a Options,
    epoll: OwnedFd,
    tls: Option<Arc<ServerConfig>>,
    /// `None` for a closed socket.
    sockets: Vec<Option<Socket>>,
    topics: Vec<Topic>,
    /// Topics with frames in the current batch.
    touched: Vec<usize>,
    /// Acknowledgements that the publisher's socket has not accepted.
    acks: Vec<u8>,
    /// Subscribers that have not accepted all of the batch. Until 0, the publisher is not read.
    behind: usize,
    publisher: Option<usize>,
    scratch: Vec<u8>,
}

struct Socket {
    transport: Transport,
    role: Role,
    /// The events that epoll reports for this socket.
    interest: EventFlags,
}

enum Role {
    /// Holds the received part of the request.
    Upgrading(Vec<u8>),
    /// Has not accepted the last `left` bytes of its topic's batch.
    Subscriber {
        topic: usize,
        left: usize,
    },
    Publisher(Decoder),
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

            let (data, interest) = (EventData::new_u64(self.sockets.len() as u64), EventFlags::IN);
            epoll::add(&self.epoll, &stream, data, interest)?;
            let transport = Transport::server(stream, self.tls.as_ref())?;
            let role = Role::Upgrading(Vec::new());
            self.sockets.push(Some(Socket { transport, role, interest }));
        }
    }

    fn handle_event(&mut self, index: usize, flags: EventFlags) -> anyhow::Result<()> {
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
        let bytes = match socket.transport.read(&mut self.scratch) {
            Ok(count @ 1..) => &mut self.scratch[..count],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Ok(0) | Err(_) => return self.remove(index),
        };

        match &mut socket.role {
            Role::Upgrading(request) => {
                request.extend_from_slice(bytes);
                if request.ends_with(b"\r\n\r\n") {
                    let request = std::mem::take(request);
                    self.upgrade(index, &request)?;
                }
                Ok(())
            }
            Role::Publisher(decoder) => {
                // All subscribers have the last batch: `pace` reads only while none is behind.
                for topic in self.touched.drain(..) {
                    self.topics[topic].batch.clear();
                }
                let frames = batch::take_frames(
                    decoder,
                    bytes,
                    self.options,
                    &mut self.topics,
                    &mut self.touched,
                )?;
                self.deliver()?;
                self.acknowledge(index, frames)?;
                self.pace()
            }
            // A subscriber sends only its close frame, which ends with the socket.
            Role::Subscriber { .. } => Ok(()),
        }
    }

    fn upgrade(&mut self, index: usize, request: &[u8]) -> anyhow::Result<()> {
        let Some(socket) = &mut self.sockets[index] else { return Ok(()) };
        let (response, topic) = upgrade::respond(request, self.options.deflate)?;
        // Fits into the empty buffer of a new socket, so it does not block.
        socket.transport.write_all(response.as_bytes())?;

        socket.role = if let Some(topic) = topic {
            ensure!(topic < self.topics.len(), "topic {topic} of {}", self.topics.len());
            self.topics[topic].subscribers.push(index);
            Role::Subscriber { topic, left: 0 }
        } else {
            self.publisher = Some(index);
            Role::Publisher(Decoder::new(Side::Server, frame::MAX_MESSAGE_BYTES))
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
                    // Each compression gives the same bytes, so a slow subscriber can continue in
                    // those of the last one.
                    batch::compress(&frames, &mut topic.batch);
                }
                let Some(socket) = &mut self.sockets[index] else { continue };
                let Role::Subscriber { left, .. } = &mut socket.role else { continue };

                *left = topic.batch.len();
                // Fills the socket's buffer; what remains goes out with `OUT` events.
                if send(&mut socket.transport, &topic.batch, left)? {
                    self.behind += 1;
                    let interest = EventFlags::IN | EventFlags::OUT;
                    socket.set_interest(&self.epoll, index, interest)?;
                }
            }
        }
        Ok(())
    }

    /// Acknowledges this many frames with one write.
    fn acknowledge(&mut self, publisher: usize, frames: usize) -> anyhow::Result<()> {
        let Some(text) = &self.options.ack else { return Ok(()) };

        for _ in 0..frames {
            frame::write_plain(&mut self.acks, frame::TEXT, &[text.as_bytes()]);
        }
        self.send_acks(publisher)
    }

    fn send_acks(&mut self, publisher: usize) -> anyhow::Result<()> {
        let Some(socket) = &mut self.sockets[publisher] else { return Ok(()) };
        let mut left = self.acks.len();
        if left > 0 || socket.transport.wants_write() {
            send(&mut socket.transport, &self.acks, &mut left)?;
            self.acks.drain(..self.acks.len() - left);
        }
        Ok(())
    }

    fn catch_up(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(socket) = &mut self.sockets[index] else { return Ok(()) };

        match &mut socket.role {
            Role::Subscriber { topic, left } => {
                if !send(&mut socket.transport, &self.topics[*topic].batch, left)? {
                    self.behind -= 1;
                    socket.set_interest(&self.epoll, index, EventFlags::IN)?;
                }
            }
            Role::Publisher(_) => self.send_acks(index)?,
            Role::Upgrading(_) => {}
        }
        self.pace()
    }

    /// Reads the publisher only while no subscriber is behind.
    fn pace(&mut self) -> anyhow::Result<()> {
        let Some(index) = self.publisher else { return Ok(()) };
        let Some(socket) = &mut self.sockets[index] else { return Ok(()) };

        let interest = if !self.acks.is_empty() || socket.transport.wants_write() {
            EventFlags::OUT
        } else if self.behind > 0 {
            EventFlags::empty()
        } else {
            EventFlags::IN
        };
        socket.set_interest(&self.epoll, index, interest)
    }

    fn remove(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(socket) = self.sockets[index].take() else { return Ok(()) };

        epoll::delete(&self.epoll, &socket.transport)?;
        match socket.role {
            Role::Subscriber { topic, .. } => {
                self.topics[topic].subscribers.retain(|subscriber| *subscriber != index);
                // Otherwise a closed subscriber would stop the publisher for good.
                if socket.interest.contains(EventFlags::OUT) {
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
    /// Sets the events that epoll reports, with a system call only if they change.
    fn set_interest(
        &mut self,
        epoll: &OwnedFd,
        index: usize,
        interest: EventFlags,
    ) -> anyhow::Result<()> {
        if self.interest != interest {
            epoll::modify(epoll, &self.transport, EventData::new_u64(index as u64), interest)?;
            self.interest = interest;
        }
        Ok(())
    }
}

/// Sends the last `left` bytes until the socket would block. Returns whether some remain.
fn send(transport: &mut Transport, batch: &[u8], left: &mut usize) -> anyhow::Result<bool> {
    let result = match *left {
        // `flush` writes TLS records that an earlier call could not write.
        0 => transport.flush().map(|()| 0),
        _ => transport.write(&batch[batch.len() - *left..]),
    };

    match result {
        Ok(count) => *left -= count,
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::Interrupted => {}
            // A broken socket accepts nothing more. Its end is an event of its own.
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                *left = 0;
                return Ok(false);
            }
            _ => return Err(error.into()),
        },
    }
    Ok(*left > 0 || transport.wants_write())
}
