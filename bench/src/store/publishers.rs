//! Publishers that each wait for their acknowledgement, over the protocol of any server.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::json;

use crate::client_pool::publish_request;
use crate::clock::{self, Watchdog};
use crate::endpoint::Endpoint;
use crate::frame::{self, Header};

/// The name of the stream, and the subject of its messages.
pub(super) const STREAM: &str = "bench";
/// Messages that each server retains.
pub(super) const RETAINED: u64 = 65_536;
/// The subject of a publisher's acknowledgements from NATS.
const INBOX: &str = "inbox";
/// The longest wait for a socket.
const POLL: Duration = Duration::from_secs(1);
/// Bytes per read. Acknowledgements have a few hundred.
const READ_BYTES: usize = 4096;

/// The protocol of a server.
#[derive(Clone, Debug)]
pub(super) enum Wire {
    /// WebSocket messages to this topic.
    Rejoin { endpoint: Endpoint, topic: String },
    /// `PUB` to a stream of JetStream.
    Nats,
    /// `XADD`.
    Redis,
}

/// A connection with at most one message that is not acknowledged.
pub(super) struct Publisher {
    wire: Wire,
    socket: TcpStream,
    message: Vec<u8>,
    received: Vec<u8>,
    sent: u64,
}

/// The first complete reply of a server.
struct Reply {
    bytes: usize,
    is_ack: bool,
}

impl Publisher {
    /// Connects a publisher of this text.
    pub(super) fn connect(
        wire: &Wire,
        address: SocketAddrV4,
        number: usize,
        text: &str,
    ) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let message = wire.message(number, text);
        let (wire, received) = (wire.clone(), Vec::new());
        let mut publisher = Self { wire, socket, message, received, sent: 0 };
        publisher.prepare(number)?;
        Ok(publisher)
    }

    /// Sends what precedes the first message, and waits for its effect.
    fn prepare(&mut self, number: usize) -> anyhow::Result<()> {
        match self.wire.clone() {
            Wire::Rejoin { endpoint, .. } => {
                self.socket.write_all(endpoint.upgrade().as_bytes())?;
                self.take(|bytes| end_of(bytes, b"\r\n\r\n"))?;
                let token = json!({"token": endpoint.token});
                let request = format!(r#"{{"id":"1","type":"authenticate","payload":{token}}}"#);
                let mut bytes = Vec::new();
                frame::write_masked(&mut bytes, frame::TEXT, request.as_bytes());
                self.socket.write_all(&bytes)?;
                let result = self.take(|bytes| Some(Header::read(bytes)?.end))?;
                let is_authenticated = end_of(&result, br#""authenticated":true"#).is_some();
                ensure!(is_authenticated, "{}", String::from_utf8_lossy(&result));
            }
            Wire::Nats => {
                let options = json!({"verbose": false, "pedantic": false});
                let stream = json!({
                    "name": STREAM, "subjects": [STREAM], "storage": "file", "max_msgs": RETAINED,
                });
                let stream = stream.to_string();
                let subject = format!("$JS.API.STREAM.CREATE.{STREAM}");
                let create = nats_publish(&subject, number, &stream);
                let text =
                    format!("CONNECT {options}\r\nSUB {INBOX}.{number} 1\r\n{create}PING\r\n");
                self.socket.write_all(text.as_bytes())?;
                // Ends with the payload, and is the same if the stream exists already.
                let created = self.take(|bytes| {
                    let start = end_of(bytes, b"stream_create_response")?;
                    Some(start + end_of(&bytes[start..], b"\r\n")?)
                })?;
                let is_error = end_of(&created, br#""error""#).is_some();
                ensure!(!is_error, "{}", String::from_utf8_lossy(&created));
            }
            Wire::Redis => {}
        }
        Ok(())
    }

    /// Reads until `end` finds the end of a reply. Returns all bytes before it.
    fn take(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> anyhow::Result<Vec<u8>> {
        loop {
            if let Some(end) = end(&self.received) {
                return Ok(self.received.drain(..end).collect());
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> anyhow::Result<()> {
        let mut bytes = [0; READ_BYTES];
        let count = self.socket.read(&mut bytes)?;
        ensure!(count > 0, "the server closed a connection");
        self.received.extend_from_slice(&bytes[..count]);
        Ok(())
    }

    fn send(&mut self) -> anyhow::Result<()> {
        self.sent = clock::now();
        Ok(self.socket.write_all(&self.message)?)
    }

    /// Reads once. Returns whether the acknowledgement has arrived.
    fn receive(&mut self) -> anyhow::Result<bool> {
        self.read()?;
        let mut is_acknowledged = false;
        while let Some(reply) = self.wire.reply(&self.received)? {
            self.received.drain(..reply.bytes);
            is_acknowledged |= reply.is_ack;
        }
        Ok(is_acknowledged)
    }
}

/// Lets each publisher send its next message after the acknowledgement of the last one.
///
/// Returns the number of messages and the time.
pub(super) fn publish(
    publishers: &mut [Publisher],
    duration: Duration,
    latencies: &mut Histogram<u64>,
) -> anyhow::Result<(u64, Duration)> {
    let (start, end) = (clock::now(), clock::after(duration));
    let (mut count, mut waiting) = (0, publishers.len());
    publishers.iter_mut().try_for_each(Publisher::send)?;

    let mut watchdog = Watchdog::new();
    while waiting > 0 {
        let sockets = publishers.iter().map(|it| PollFd::new(&it.socket, PollFlags::IN));
        let mut sockets: Vec<_> = sockets.collect();
        poll(&mut sockets, Some(&clock::timespec(POLL)))?;
        let is_ready = |socket: &PollFd<'_>| !socket.revents().is_empty();
        let ready: Vec<_> = sockets.iter().map(is_ready).collect();

        for (publisher, _) in publishers.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            if !publisher.receive()? {
                continue;
            }
            let now = clock::now();
            latencies.saturating_record(now - publisher.sent);
            count += 1;
            if now < end {
                publisher.send()?;
            } else {
                waiting -= 1;
            }
        }
        watchdog.check(count, "acknowledgements")?;
    }
    Ok((count, Duration::from_nanos(clock::now() - start)))
}

impl Wire {
    /// Returns the bytes of one message.
    fn message(&self, number: usize, text: &str) -> Vec<u8> {
        match self {
            Self::Rejoin { topic, .. } => {
                let mut bytes = Vec::new();
                let request = publish_request("2", topic, text);
                frame::write_masked(&mut bytes, frame::TEXT, request.as_bytes());
                bytes
            }
            Self::Nats => nats_publish(STREAM, number, text).into_bytes(),
            Self::Redis => {
                let retained = RETAINED.to_string();
                let parts = ["XADD", STREAM, "MAXLEN", "~", &retained, "*", "d", text];
                let parts = parts.iter().map(|part| format!("${}\r\n{part}\r\n", part.len()));
                format!("*8\r\n{}", parts.collect::<String>()).into_bytes()
            }
        }
    }

    /// Parses the first reply; returns `None` until all of it has arrived.
    ///
    /// # Errors
    /// The reply is an error.
    fn reply(&self, bytes: &[u8]) -> anyhow::Result<Option<Reply>> {
        let (bytes_read, payload) = match self {
            Self::Rejoin { .. } => {
                let Some(header) = Header::read(bytes) else { return Ok(None) };
                (header.end, &bytes[header.start..header.end])
            }
            Self::Nats | Self::Redis => {
                let Some(start) = end_of(bytes, b"\r\n") else { return Ok(None) };
                let line = str::from_utf8(&bytes[..start - 2])?;
                let is_error = line.starts_with('-');
                ensure!(!is_error, "a publish failed: {line}");
                let is_message = line.starts_with("MSG ") || line.starts_with('$');
                if !is_message {
                    return Ok(Some(Reply { bytes: start, is_ack: false }));
                }
                let count = line.rsplit([' ', '$']).next().unwrap_or_default();
                let end = start + count.parse::<usize>().context("a reply without a length")?;
                // The payload is followed by a line end.
                let Some(payload) = bytes.get(start..end).filter(|_| bytes.len() >= end + 2) else {
                    return Ok(None);
                };
                (end + 2, payload)
            }
        };

        let text = String::from_utf8_lossy(payload);
        let is_error = text.contains(r#""error""#);
        if is_error {
            bail!("a publish failed: {text}");
        }
        let is_ack = match self {
            Self::Rejoin { .. } => text.contains(r#""type":"ack""#),
            Self::Nats => text.contains(r#""seq""#),
            Self::Redis => true,
        };
        Ok(Some(Reply { bytes: bytes_read, is_ack }))
    }
}

/// Returns the index after the first occurrence of `wanted`.
fn end_of(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let at = bytes.windows(wanted.len()).position(|part| part == wanted)?;
    Some(at + wanted.len())
}

/// Returns a message to NATS whose reply goes to the publisher's inbox.
fn nats_publish(subject: &str, number: usize, text: &str) -> String {
    format!("PUB {subject} {INBOX}.{number} {}\r\n{text}\r\n", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(wire: &Wire, bytes: &[u8]) -> Vec<bool> {
        let mut left = bytes;
        let mut replies = Vec::new();
        while let Some(reply) = wire.reply(left).unwrap() {
            replies.push(reply.is_ack);
            left = &left[reply.bytes..];
        }
        assert!(left.is_empty(), "{left:?}");
        replies
    }

    #[test]
    fn acknowledgements_are_found_among_other_replies() {
        let nats = b"PING\r\nMSG inbox.1 1 13\r\n{\"seq\":12345}\r\n";
        assert_eq!(replies(&Wire::Nats, nats), [false, true]);
        assert_eq!(replies(&Wire::Redis, b"$3\r\n1-0\r\n$3\r\n1-1\r\n"), [true, true]);
    }

    #[test]
    fn a_cut_reply_waits_and_an_error_is_reported() {
        assert!(Wire::Redis.reply(b"$3\r\n1-0\r").unwrap().is_none());
        assert!(Wire::Nats.reply(b"MSG inbox.1 1 12\r\n{\"se").unwrap().is_none());
        assert!(Wire::Redis.reply(b"-MISCONF disk full\r\n").is_err());
        assert!(Wire::Nats.reply(b"MSG inbox.1 1 12\r\n{\"error\":{}}\r\n").is_err());
    }
}
