//! Any number of connections, served by one thread that blocks on none of them.

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use serde_json::Value;

use crate::clock::{self, Watchdog};
use crate::endpoint::{self, Endpoint};
use crate::transport::Transport;

mod client;

use client::Phase;
pub(crate) use client::{Client, End, Event, Frame, publish_request};

/// Clients of [`ClientPool::connect_all`] that connect in parallel.
const IN_FLIGHT: usize = 64;
const POLL: Duration = Duration::from_secs(1);
/// Epoll events per poll.
const MAX_EVENTS: usize = 1024;
/// Bytes per read. Larger than what sockets usually hold, so that one read empties a socket.
const READ_BYTES: usize = 256 * 1024;

/// Events with the numbers of their clients.
pub(crate) type Events = Vec<(usize, Event)>;

/// The clients, by number.
pub(crate) struct ClientPool {
    epoll: OwnedFd,
    clients: Vec<Option<Client>>,
    /// Events that happened outside of a poll. The next poll returns them.
    events: Events,
    scratch: Vec<u8>,
    /// Bytes received by all clients so far.
    pub(crate) received_bytes: u64,
}

impl ClientPool {
    /// Creates an empty pool.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            clients: Vec::new(),
            events: Vec::new(),
            scratch: vec![0; READ_BYTES],
            received_bytes: 0,
        })
    }

    /// Connects a client to each endpoint, a few at a time, and waits until all are ready.
    ///
    /// A client is ready with the reply to the request of its endpoint. Without a request, it is
    /// ready once it is authenticated, or upgraded if it does not authenticate.
    pub(crate) fn connect_all(&mut self, endpoints: &[Endpoint]) -> anyhow::Result<()> {
        self.connect_timed(endpoints, IN_FLIGHT, |_| {})
    }

    /// Connects as [`Self::connect_all`], and records the time until each client is ready.
    pub(crate) fn connect_timed(
        &mut self,
        endpoints: &[Endpoint],
        in_flight: usize,
        mut record: impl FnMut(u64),
    ) -> anyhow::Result<()> {
        let (mut started, mut ready) = (Vec::with_capacity(endpoints.len()), 0);
        let mut watchdog = Watchdog::new();
        while ready < endpoints.len() {
            // Refilled per poll, so that `in_flight` is the parallelism and not a batch size.
            while started.len() < endpoints.len().min(ready + in_flight) {
                started.push(clock::now());
                self.connect(started.len() - 1, &endpoints[started.len() - 1])?;
            }

            for (number, event) in self.poll(POLL)? {
                let is_ready = match event {
                    Event::Opened => !endpoints[number].authenticates(),
                    // Messages of topics that arrive meanwhile are dropped.
                    Event::Frame(frame) => is_ready(&endpoints[number], &frame.message()?)?,
                    Event::Ended(end) => bail!("connection {number} ended: {end}"),
                };
                if is_ready {
                    ready += 1;
                    record(clock::now() - started[number]);
                }
            }
            watchdog.check(ready as u64, "connections")?;
        }
        Ok(())
    }

    /// Starts to connect a client, which sends the token and the request of its endpoint.
    ///
    /// Replaces the client with this number.
    pub(crate) fn connect(&mut self, number: usize, endpoint: &Endpoint) -> anyhow::Result<()> {
        self.connect_with(number, endpoint, endpoint.upgrade().as_bytes())
    }

    /// Starts to connect a client that sends these bytes instead of an upgrade request.
    pub(crate) fn connect_with(
        &mut self,
        number: usize,
        endpoint: &Endpoint,
        request: &[u8],
    ) -> anyhow::Result<()> {
        self.remove(number);

        let stream = match endpoint::start_connect(endpoint.address) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                self.events.push((number, Event::Ended(End::Unreachable)));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        // Small messages must not wait for acknowledgements of earlier ones.
        stream.set_nodelay(true)?;
        let transport = Transport::client(stream, endpoint.tls.as_ref())?;
        let client = Client::new(number, transport, endpoint, request);
        epoll::add(&self.epoll, &client.transport, EventData::new_u64(number as u64), all_edges())?;
        if self.clients.len() <= number {
            self.clients.resize_with(number + 1, || None);
        }
        self.clients[number] = Some(client);
        Ok(())
    }

    /// Closes the socket of a client if it is connected.
    pub(crate) fn remove(&mut self, number: usize) {
        if let Some(client) = self.clients.get_mut(number) {
            // Dropping a client closes its socket, and epoll forgets it.
            *client = None;
        }
    }

    /// Leaves a client connected without reading from it or reporting its end.
    pub(crate) fn abandon(&mut self, number: usize) -> anyhow::Result<()> {
        if let Some(Some(client)) = self.clients.get(number) {
            epoll::delete(&self.epoll, &client.transport)?;
        }
        Ok(())
    }

    /// Returns a client if it is connected.
    pub(crate) fn client(&mut self, number: usize) -> Option<&mut Client> {
        self.clients.get_mut(number)?.as_mut()
    }

    /// Returns the number of clients.
    pub(crate) fn len(&self) -> usize {
        self.clients.iter().flatten().count()
    }

    /// Makes all paused clients read again.
    pub(crate) fn resume_reading(&mut self) -> anyhow::Result<()> {
        let is_paused = |client: &&mut Client| client.phase == Phase::Paused;
        for client in self.clients.iter_mut().flatten().filter(is_paused) {
            client.phase = Phase::Open;
            // Edge-triggered epoll reports bytes that have already arrived only if it is re-armed.
            let data = EventData::new_u64(client.number as u64);
            epoll::modify(&self.epoll, &client.transport, data, all_edges())?;
        }
        Ok(())
    }

    /// Waits for events. Returns an empty list after the timeout.
    pub(crate) fn poll(&mut self, timeout: Duration) -> anyhow::Result<Events> {
        let mut events = std::mem::take(&mut self.events);
        let timeout = clock::timespec(if events.is_empty() { timeout } else { Duration::ZERO });
        // Not a field: the type is not `Send`, and pools move between threads.
        let mut epoll_events: Vec<epoll::Event> = Vec::with_capacity(MAX_EVENTS);
        match epoll::wait(&self.epoll, spare_capacity(&mut epoll_events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }

        let readable = EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        for event in &epoll_events {
            let (number, flags) = (usize::try_from(event.data.u64())?, event.flags);
            // Removed since the kernel queued the event.
            let Some(slot) = self.clients.get_mut(number) else { continue };
            let Some(client) = slot else { continue };

            if flags.contains(EventFlags::OUT) {
                client.flush();
            }
            if flags.intersects(readable) {
                self.received_bytes += client.read(flags, &mut self.scratch, &mut events);
                // A read may have completed the TLS handshake that the request waited for.
                client.flush();
            }
            if client.phase == Phase::Ended {
                *slot = None;
            }
        }
        Ok(events)
    }

    /// Waits for frames of clients that must all stay connected.
    ///
    /// # Errors
    /// A connection has ended.
    pub(crate) fn poll_frames(&mut self, timeout: Duration) -> anyhow::Result<Vec<(usize, Frame)>> {
        let mut frames = Vec::new();
        for (number, event) in self.poll(timeout)? {
            match event {
                Event::Opened => {}
                Event::Frame(frame) => frames.push((number, frame)),
                Event::Ended(end) => bail!("connection {number} ended: {end}"),
            }
        }
        Ok(frames)
    }
}

/// Returns whether a message is the last that a new client waits for.
fn is_ready(endpoint: &Endpoint, message: &Value) -> anyhow::Result<bool> {
    ensure!(message["type"] != "error", "a new client received {message}");
    Ok(match &endpoint.request {
        Some((kind, _)) => message["reply_to"] == *kind,
        None => message["type"] == "auth_result",
    })
}

/// Returns the events that the pool handles, reported when they change.
fn all_edges() -> EventFlags {
    EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{SocketAddr, TcpListener};

    use super::*;
    use crate::frame;

    fn endpoint(listener: &TcpListener) -> Endpoint {
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
        Endpoint::new(address, "/")
    }

    /// Polls until events arrive.
    fn poll(pool: &mut ClientPool) -> String {
        loop {
            let events = pool.poll(Duration::from_secs(30)).unwrap();
            let describe = |(number, event)| match event {
                Event::Opened => format!("{number} opened"),
                Event::Frame(frame) => {
                    format!("{number} {}", String::from_utf8_lossy(frame.payload()))
                }
                Event::Ended(end) => format!("{number} {end}"),
            };
            let events: Vec<_> = events.into_iter().map(describe).collect();

            if !events.is_empty() {
                return events.join(", ");
            }
        }
    }

    #[test]
    fn frames_split_over_reads_are_received_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut pool = ClientPool::new().unwrap();
        pool.connect(3, &endpoint(&listener)).unwrap();
        let mut server = listener.accept().unwrap().0;
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        let head = bytes.len();
        frame::write_plain(&mut bytes, frame::TEXT, &[b"one"]);
        frame::write_plain(&mut bytes, frame::TEXT, &[b"two"]);
        let texts = bytes.len();
        frame::write_plain(&mut bytes, frame::PONG, &[b"three"]);
        frame::write_plain(&mut bytes, frame::CLOSE, &[&4000u16.to_be_bytes(), b"bye"]);

        // Each write but the last ends within a frame.
        let mut start = 0;
        let events = [head + 2, texts - 1, bytes.len() - 1, bytes.len()].map(|end| {
            server.write_all(&bytes[start..end]).unwrap();
            start = end;
            poll(&mut pool)
        });

        assert_eq!(events, ["3 opened", "3 one", "3 two, 3 three", "3 closed with 4000"]);
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn refused_upgrades_and_refused_connections_end_differently() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = endpoint(&listener);
        let mut pool = ClientPool::new().unwrap();

        pool.connect(0, &endpoint).unwrap();
        let mut server = listener.accept().unwrap().0;
        server.write_all(b"HTTP/1.1 503 Busy\r\n\r\n").unwrap();
        assert_eq!(poll(&mut pool), "0 HTTP 503");

        drop(listener);
        pool.connect(1, &endpoint).unwrap();
        assert_eq!(poll(&mut pool), "1 unreachable");
    }
}
