//! Many connections that talk, come and go, served by one thread that never waits for one of them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::ensure;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use serde_json::{Value, json};

use crate::client::{self, Endpoint};
use crate::clock;
use crate::frame::{self, Header};

/// Events taken at once.
const EVENTS: usize = 1024;
/// Bytes read at once from one socket.
const READ_BYTES: usize = 256 * 1024;

/// The connections, by number.
pub(crate) struct Crowd {
    epoll: OwnedFd,
    peers: Vec<Option<Peer>>,
    /// Those that ended outside a turn.
    ended: Vec<(usize, End)>,
    events: Vec<Event>,
    scratch: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    stage: Stage,
    /// What is not a complete frame, or answer to the request.
    unread: Vec<u8>,
    /// What the socket has not taken.
    unsent: Vec<u8>,
    /// What writing found: the system tells it once, to whoever asks first.
    broken: Option<End>,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its request is not answered.
    Upgrading,
    Open,
    /// It reads no more.
    Deaf,
}

/// What a connection hears.
#[derive(Debug)]
pub(crate) enum Heard<'a> {
    /// The request was accepted.
    Opened,
    /// A text message.
    Text(&'a [u8]),
    /// The answer to a WebSocket ping.
    Pong,
}

/// Why a connection is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// Nobody listened.
    Unreachable,
    /// The request was answered with this status.
    Status(u16),
    /// The server said goodbye with this code.
    Closed(u16),
    /// The server just closed it.
    Eof,
    /// The line was broken.
    Reset,
}

impl Crowd {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            peers: Vec::new(),
            ended: Vec::new(),
            events: Vec::with_capacity(EVENTS),
            scratch: vec![0; READ_BYTES],
        })
    }

    /// Begins to connect; `number` also spreads the connections over source addresses.
    pub(crate) fn connect(&mut self, number: usize, endpoint: &Endpoint) -> anyhow::Result<()> {
        self.connect_with(number, endpoint, endpoint.request().as_bytes())
    }

    /// Begins to connect, with something else than a whole request to say first.
    pub(crate) fn connect_with(
        &mut self,
        number: usize,
        endpoint: &Endpoint,
        request: &[u8],
    ) -> anyhow::Result<()> {
        ensure!(endpoint.tls.is_none(), "these connections speak plain TCP only");
        self.leave(number);
        let stream = match client::begin_connect(endpoint.address, number) {
            Ok(stream) => stream,
            Err(error) if is_refusal(&error) => {
                self.ended.push((number, End::Unreachable));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &stream, EventData::new_u64(number as u64), flags)?;
        if self.peers.len() <= number {
            self.peers.resize_with(number + 1, || None);
        }
        // Sent when the socket is connected, which is when it becomes writable.
        let unsent = request.to_vec();
        self.peers[number] = Some(Peer {
            stream,
            stage: Stage::Upgrading,
            unread: Vec::new(),
            unsent,
            broken: None,
            end: None,
        });
        Ok(())
    }

    /// Closes a connection, if it is there.
    pub(crate) fn leave(&mut self, number: usize) {
        if let Some(peer) = self.peers.get_mut(number) {
            *peer = None;
        }
    }

    /// One of them, if it is there.
    pub(crate) fn peer(&mut self, number: usize) -> Option<&mut Peer> {
        self.peers.get_mut(number)?.as_mut()
    }

    /// How many are there.
    pub(crate) fn len(&self) -> usize {
        self.peers.iter().flatten().count()
    }

    /// Those that had stopped to read begin again where they were.
    pub(crate) fn listen_again(&mut self) {
        for (number, peer) in self.peers.iter_mut().enumerate() {
            let Some(peer) = peer.as_mut().filter(|peer| peer.stage == Stage::Deaf) else {
                continue;
            };
            peer.stage = Stage::Open;
            // What is there already is no news to the system unless it is asked anew.
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            let _ =
                epoll::modify(&self.epoll, &peer.stream, EventData::new_u64(number as u64), flags);
        }
    }

    /// Waits until something happens, hands out what was heard, and returns who has gone.
    pub(crate) fn turn(
        &mut self,
        timeout: Duration,
        handle: &mut impl FnMut(usize, &mut Peer, Heard<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<(usize, End)>> {
        let timeout = if self.ended.is_empty() { timeout } else { Duration::ZERO };
        self.events.clear();
        let timeout = clock::timespec(timeout);
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ended = std::mem::take(&mut self.ended);
        for event in &self.events {
            let (number, flags) = (usize::try_from(event.data.u64())?, event.flags);
            let Some(peer) = self.peers.get_mut(number).and_then(Option::as_mut) else { continue };
            if flags.contains(EventFlags::OUT) {
                peer.flush();
            }
            let readable = EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
            if flags.intersects(readable) {
                peer.read(number, flags, &mut self.scratch, handle)?;
            }
            if let Some(end) = peer.end {
                self.peers[number] = None;
                ended.push((number, end));
            }
        }
        Ok(ended)
    }
}

impl Peer {
    /// Sends one frame, as far as the socket takes it; the rest follows when it takes more.
    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mut out = Vec::with_capacity(payload.len() + 14);
        frame::write_masked(&mut out, opcode, payload);
        self.send_bytes(&out);
    }

    /// Sends a message of the protocol.
    pub(crate) fn ask(&mut self, id: &str, kind: &str, payload: &Value) {
        let question = json!({"id": id, "type": kind, "payload": payload}).to_string();
        self.send(frame::TEXT, question.as_bytes());
    }

    /// Sends bytes that are frames, or parts of them.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.flush();
    }

    /// Whether the socket has taken all; who sends more only then never has much waiting.
    pub(crate) fn is_free(&self) -> bool {
        self.stage != Stage::Upgrading && self.unsent.is_empty()
    }

    /// Reads no more from now on.
    pub(crate) fn stop_reading(&mut self) {
        self.stage = Stage::Deaf;
    }

    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The goodbye before it may still be there to be read.
                Err(error) => {
                    self.broken = Some(broken(&error));
                    return;
                }
            }
        }
    }

    fn read(
        &mut self,
        number: usize,
        flags: EventFlags,
        scratch: &mut [u8],
        handle: &mut impl FnMut(usize, &mut Self, Heard<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.stage == Stage::Deaf {
            let gone = flags.intersects(EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP);
            self.end = gone.then_some(End::Reset);
            return Ok(());
        }
        while self.end.is_none() && self.stage != Stage::Deaf {
            let count = match self.stream.read(scratch) {
                Ok(0) => {
                    self.end = Some(self.broken.unwrap_or(End::Eof));
                    return Ok(());
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.end = Some(broken(&error));
                    return Ok(());
                }
            };
            self.take(number, &scratch[..count], handle)?;
            // Less than was asked for is all there is, unless the end is there as well.
            if count < scratch.len() && !flags.intersects(EventFlags::RDHUP | EventFlags::HUP) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        number: usize,
        bytes: &[u8],
        handle: &mut impl FnMut(usize, &mut Self, Heard<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.unread.is_empty() {
            let used = self.hear(number, bytes, handle)?;
            self.unread.extend_from_slice(&bytes[used..]);
        } else {
            let mut unread = std::mem::take(&mut self.unread);
            unread.extend_from_slice(bytes);
            let used = self.hear(number, &unread, handle)?;
            unread.drain(..used);
            self.unread = unread;
        }
        Ok(())
    }

    /// Hands out what is complete; how many bytes that was.
    fn hear(
        &mut self,
        number: usize,
        bytes: &[u8],
        handle: &mut impl FnMut(usize, &mut Self, Heard<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<usize> {
        let mut used = 0;
        if self.stage == Stage::Upgrading {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            let Some(end) = end else { return Ok(0) };
            used = end + 4;
            if status(bytes) != 101 {
                self.end = Some(End::Status(status(bytes)));
                return Ok(used);
            }
            self.stage = Stage::Open;
            handle(number, self, Heard::Opened)?;
        }
        while let Some(header) = Header::read(&bytes[used..]) {
            let payload = &bytes[used + header.start..used + header.end];
            used += header.end;
            match header.opcode {
                frame::TEXT => handle(number, self, Heard::Text(payload))?,
                frame::PING => self.send(frame::PONG, payload),
                frame::PONG => handle(number, self, Heard::Pong)?,
                frame::CLOSE => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    self.send(frame::CLOSE, payload);
                    self.end = Some(End::Closed(code));
                    break;
                }
                _ => {}
            }
        }
        Ok(used)
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable => f.write_str("unreachable"),
            Self::Status(status) => write!(f, "HTTP {status}"),
            Self::Closed(code) => write!(f, "closed with {code}"),
            Self::Eof => f.write_str("closed without a word"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

fn is_refusal(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| broken(error) == End::Unreachable)
}

fn broken(error: &std::io::Error) -> End {
    match error.kind() {
        ErrorKind::ConnectionRefused => End::Unreachable,
        _ => End::Reset,
    }
}

/// The status of an answer, or 0.
fn status(answer: &[u8]) -> u16 {
    let digits = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn endpoint(listener: &TcpListener) -> Endpoint {
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
        Endpoint { address, path: "/".into(), protocol: None, headers: String::new(), tls: None }
    }

    /// Turns until something was heard, or somebody has gone.
    fn listen(crowd: &mut Crowd) -> (Vec<String>, Vec<(usize, End)>) {
        let mut heard = Vec::new();
        loop {
            let ended = crowd.turn(PATIENCE, &mut |number, _, what| {
                heard.push(match what {
                    Heard::Opened => format!("{number} opened"),
                    Heard::Text(text) => format!("{number} {}", String::from_utf8_lossy(text)),
                    Heard::Pong => format!("{number} pong"),
                });
                Ok(())
            });
            let ended = ended.unwrap();
            if !heard.is_empty() || !ended.is_empty() {
                return (heard, ended);
            }
        }
    }

    #[test]
    fn what_comes_in_pieces_is_heard_once_and_whole_up_to_the_goodbye() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut crowd = Crowd::new().unwrap();
        crowd.connect(3, &endpoint(&listener)).unwrap();
        let mut server = listener.accept().unwrap().0;
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        let head = bytes.len();
        frame::write_plain(&mut bytes, frame::TEXT, [b"one", b"", b""]);
        frame::write_plain(&mut bytes, frame::TEXT, [b"two", b"", b""]);
        let texts = bytes.len();
        frame::write_plain(&mut bytes, frame::PONG, [b"", b"", b""]);
        frame::write_plain(&mut bytes, frame::CLOSE, [&4000u16.to_be_bytes(), b"bye", b""]);
        // Each piece ends within a frame: the first one, the second one, the goodbye.
        let ends = [head + 2, texts - 1, bytes.len() - 1, bytes.len()];
        let mut begin = 0;
        let mut told = Vec::new();
        for end in ends {
            server.write_all(&bytes[begin..end]).unwrap();
            told.push(listen(&mut crowd));
            begin = end;
        }
        let heard: Vec<_> = told.iter().map(|(heard, _)| heard.join(", ")).collect();
        assert_eq!(heard, ["3 opened", "3 one", "3 two, 3 pong", ""]);
        assert_eq!(told[3].1, [(3, End::Closed(4000))]);
        assert_eq!(crowd.len(), 0);
    }

    #[test]
    fn a_refused_request_and_nobody_there_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = endpoint(&listener);
        let mut crowd = Crowd::new().unwrap();
        crowd.connect(0, &endpoint).unwrap();
        let mut server = listener.accept().unwrap().0;
        server.write_all(b"HTTP/1.1 503 Busy\r\n\r\n").unwrap();
        assert_eq!(listen(&mut crowd).1, [(0, End::Status(503))]);
        drop(listener);
        crowd.connect(1, &endpoint).unwrap();
        assert_eq!(listen(&mut crowd).1, [(1, End::Unreachable)]);
    }
}
