//! One client of a pool: its socket, its frames and its end.

use std::io::{ErrorKind, Read as _, Write as _};

use anyhow::bail;
use bytes::Bytes;
use rejoin_websocket::{Decoder, Event as Message, Side};
use rustix::event::epoll::EventFlags;
use serde_json::{Value, json};

use super::Events;
use crate::clock;
use crate::endpoint::Endpoint;
use crate::frame::{self, Header};
use crate::transport::Transport;

/// One connection of the pool.
#[derive(Debug)]
pub(crate) struct Client {
    pub(super) number: usize,
    pub(super) transport: Transport,
    pub(super) phase: Phase,
    /// Sent once the upgrade is accepted.
    requests: Vec<(&'static str, Value)>,
    /// The received part of an incomplete frame or upgrade response.
    unread: Vec<u8>,
    /// Bytes that the socket has not accepted.
    unsent: Vec<u8>,
    /// The result of a failed write. The kernel reports a reset once, here or to the next read.
    write_error: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for the response to its upgrade request.
    Upgrading,
    Open,
    /// Does not read.
    Paused,
    Ended,
}

/// An event of one client.
#[derive(Debug)]
pub(crate) enum Event {
    /// The server accepted the upgrade.
    Opened,
    /// A frame other than a ping or a close, which the pool handles.
    Frame(Frame),
    /// The connection ended and is no longer in the pool.
    Ended(End),
}

/// A received frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) is_compressed: bool,
    /// The frame with its header, unless it was inflated.
    pub(crate) bytes: Bytes,
    /// The index of the payload.
    start: usize,
    /// The time of the read, in nanoseconds of the monotonic clock.
    pub(crate) time: u64,
}

/// The reason why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// No process listened.
    Unreachable,
    /// The upgrade was answered with this HTTP status.
    Status(u16),
    /// The server sent a close frame with this code.
    Closed(u16),
    /// The server ended the TCP stream without a close frame.
    Eof,
    Reset,
}

impl Frame {
    #[cfg(test)]
    pub(crate) fn text(payload: &[u8]) -> Self {
        let bytes = Bytes::copy_from_slice(payload);
        Self { opcode: frame::TEXT, is_compressed: false, bytes, start: 0, time: 0 }
    }

    /// Returns the bytes after the header.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Returns the frame uncompressed.
    pub(crate) fn inflated(self) -> anyhow::Result<Self> {
        if !self.is_compressed {
            return Ok(self);
        }

        let mut decoder = Decoder::new(Side::Client, frame::MAX_MESSAGE_BYTES).with_deflate();
        let mut bytes = self.bytes.to_vec();
        let bytes = match decoder.feed(&mut bytes).next()? {
            Some(Message::Text(text)) => Bytes::copy_from_slice(text.as_bytes()),
            Some(Message::Binary(data)) => Bytes::copy_from_slice(data),
            _ => bail!("a compressed control frame"),
        };
        Ok(Self { is_compressed: false, bytes, start: 0, ..self })
    }

    /// Parses a message of `rejoin.v1`; a frame other than text gives `null`.
    pub(crate) fn message(&self) -> anyhow::Result<Value> {
        match self.opcode {
            frame::TEXT => Ok(serde_json::from_slice(self.payload())?),
            _ => Ok(Value::Null),
        }
    }
}

impl Client {
    /// Creates a client that sends the bytes `upgrade` once its socket is connected.
    pub(super) fn new(
        number: usize,
        transport: Transport,
        endpoint: &Endpoint,
        upgrade: &[u8],
    ) -> Self {
        let (phase, unread, unsent) = (Phase::Upgrading, Vec::new(), upgrade.to_vec());
        let requests = endpoint.requests();
        Self { number, transport, phase, requests, unread, unsent, write_error: None }
    }

    /// Sends one frame that is a whole message. Never blocks; the pool sends the rest later.
    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.queue(opcode, payload);
        self.flush();
    }

    /// Queues one frame without sending it, so that one write takes several.
    pub(crate) fn queue(&mut self, opcode: u8, payload: &[u8]) {
        frame::write_masked(&mut self.unsent, opcode, payload);
    }

    /// Sends a request of the protocol.
    pub(crate) fn request(&mut self, id: &str, kind: &str, payload: &Value) {
        let request = json!({"id": id, "type": kind, "payload": payload}).to_string();
        self.send(frame::TEXT, request.as_bytes());
    }

    /// Sends [`publish_request`].
    pub(crate) fn publish(&mut self, id: &str, topic: &str, data: &str) {
        self.send(frame::TEXT, publish_request(id, topic, data).as_bytes());
    }

    /// Sends bytes that are frames or parts of frames.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.flush();
    }

    /// Returns the number of queued bytes that the socket has not accepted.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.unsent.len()
    }

    /// Returns whether the upgrade is done and the socket has accepted all bytes.
    ///
    /// A caller that sends only then bounds the memory of a client whose server does not read.
    pub(crate) fn is_writable(&self) -> bool {
        self.phase != Phase::Upgrading && self.unsent.is_empty() && !self.transport.wants_write()
    }

    /// Stops reading, until [`super::ClientPool::resume_reading`].
    pub(crate) fn pause_reading(&mut self) {
        self.phase = Phase::Paused;
    }

    /// Writes the queued bytes until the socket would block.
    pub(crate) fn flush(&mut self) {
        while !self.unsent.is_empty() || self.transport.wants_write() {
            let result = match self.unsent.is_empty() {
                true => self.transport.flush().map(|()| 0),
                false => self.transport.write(&self.unsent),
            };

            match result {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Not an end yet: the server's close frame may still be readable.
                Err(error) => {
                    self.write_error = Some(end_of(&error));
                    return;
                }
            }
        }
    }

    /// Reads until the socket is empty. Returns the number of bytes.
    pub(super) fn read(
        &mut self,
        flags: EventFlags,
        scratch: &mut [u8],
        events: &mut Events,
    ) -> u64 {
        let is_hung_up = flags.intersects(EventFlags::RDHUP | EventFlags::HUP);
        // A paused client does not see the end of its stream by reading, so epoll's flags decide.
        if self.phase == Phase::Paused && (is_hung_up || flags.contains(EventFlags::ERR)) {
            self.end(End::Reset, events);
        }

        let mut total = 0;
        while matches!(self.phase, Phase::Upgrading | Phase::Open) {
            let count = match self.transport.read(scratch) {
                Ok(0) => {
                    self.end(self.write_error.unwrap_or(End::Eof), events);
                    break;
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.end(end_of(&error), events);
                    break;
                }
            };
            total += count as u64;
            self.unread.extend_from_slice(&scratch[..count]);
            // The frames share one allocation; most reads end with a frame and leave nothing.
            let bytes = Bytes::from(std::mem::take(&mut self.unread));
            let used = self.decode(&bytes, events);
            self.unread = bytes[used..].to_vec();

            // A short read empties a plain socket, so a second read is only needed to see its end.
            if count < scratch.len() && !is_hung_up && !self.transport.is_tls() {
                break;
            }
        }
        total
    }

    /// Decodes the complete frames. Returns the number of their bytes.
    fn decode(&mut self, bytes: &Bytes, events: &mut Events) -> usize {
        let time = clock::now();
        let mut used = 0;
        if self.phase == Phase::Upgrading {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return 0 };

            used = end + 4;
            let status = status(bytes);
            if status != 101 {
                self.end(End::Status(status), events);
                return used;
            }

            self.phase = Phase::Open;
            // Not after each reply: the server executes them in order.
            for (kind, payload) in std::mem::take(&mut self.requests) {
                self.request(kind, kind, &payload);
            }
            events.push((self.number, Event::Opened));
        }

        while let Some(header) = Header::read(&bytes[used..]) {
            let Header { opcode, is_compressed, start, end, .. } = header;
            let bytes = bytes.slice(used..used + end);
            used += end;
            match opcode {
                frame::PING => self.send(frame::PONG, &bytes[start..]),
                frame::CLOSE => {
                    // A close frame without a code means 1005 (RFC 6455 §7.1.5).
                    let code = bytes[start..].first_chunk().copied();
                    self.send(frame::CLOSE, &bytes[start..]);
                    self.end(End::Closed(code.map_or(1005, u16::from_be_bytes)), events);
                    break;
                }
                _ => {
                    let frame = Frame { opcode, is_compressed, bytes, start, time };
                    events.push((self.number, Event::Frame(frame)));
                }
            }
        }
        used
    }

    fn end(&mut self, end: End, events: &mut Events) {
        self.phase = Phase::Ended;
        events.push((self.number, Event::Ended(end)));
    }
}

/// Returns a `publish` request. The topic and the data must need no escapes in JSON.
pub(crate) fn publish_request(id: &str, topic: &str, data: &str) -> String {
    format!(r#"{{"id":"{id}","type":"publish","payload":{{"topic":"{topic}","data":"{data}"}}}}"#)
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable => f.write_str("unreachable"),
            Self::Status(status) => write!(f, "HTTP {status}"),
            Self::Closed(code) => write!(f, "closed with {code}"),
            Self::Eof => f.write_str("closed without a close frame"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

fn end_of(error: &std::io::Error) -> End {
    match error.kind() {
        ErrorKind::ConnectionRefused => End::Unreachable,
        _ => End::Reset,
    }
}

/// Returns the status of an HTTP response, or 0.
fn status(response: &[u8]) -> u16 {
    let digits = response.get(9..12).and_then(|digits| str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
