//! Many connections that only read, served by one thread.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;

use crate::client::Connection;
use crate::clock;
use crate::frame::{self, Header};
use crate::wire::Wire;

/// Events taken at once.
const EVENTS: usize = 1024;
/// Bytes read at once from one socket.
const READ_BYTES: usize = 256 * 1024;

/// A message that a member received.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    /// Who received it.
    pub(crate) member: usize,
    /// What kind of frame it is.
    pub(crate) opcode: u8,
    /// Whether it is compressed.
    pub(crate) is_compressed: bool,
    /// What it carries.
    pub(crate) payload: &'a [u8],
    /// The whole frame.
    pub(crate) frame: &'a [u8],
    /// When the bytes were there, on the monotonic clock.
    pub(crate) time: u64,
}

/// The connections.
pub(crate) struct Swarm {
    epoll: OwnedFd,
    members: Vec<Member>,
    events: Vec<Event>,
    scratch: Vec<u8>,
    /// Bytes read from all sockets.
    pub(crate) bytes: u64,
}

#[derive(Debug)]
struct Member {
    stream: Wire,
    /// A frame that is not complete; empty for most, most of the time.
    rest: Vec<u8>,
}

impl Swarm {
    /// Takes over connections whose questions are answered.
    pub(crate) fn new(connections: Vec<Connection>) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut members = Vec::with_capacity(connections.len());
        for connection in connections {
            let (stream, rest) = connection.into_parts();
            stream.set_nonblocking()?;
            let data = EventData::new_u64(members.len() as u64);
            epoll::add(&epoll, &stream, data, EventFlags::IN)?;
            members.push(Member { stream, rest });
        }
        let (events, scratch) = (Vec::with_capacity(EVENTS), vec![0; READ_BYTES]);
        Ok(Self { epoll, members, events, scratch, bytes: 0 })
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Never reads from this member again.
    pub(crate) fn abandon(&mut self, member: usize) -> anyhow::Result<()> {
        Ok(epoll::delete(&self.epoll, &self.members[member].stream)?)
    }

    /// Waits for bytes and hands out the messages in them; whether there was anything.
    pub(crate) fn turn(
        &mut self,
        timeout: Duration,
        handle: &mut impl FnMut(&Received<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        self.events.clear();
        let timeout = clock::timespec(timeout);
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &self.events {
            let index = usize::try_from(event.data.u64())?;
            let member = &mut self.members[index];
            let count = match member.stream.read(&mut self.scratch) {
                Ok(0) => bail!("connection {index} was closed by the server"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error).context(format!("connection {index} failed")),
            };
            self.bytes += count as u64;
            member.take(index, &self.scratch[..count], handle)?;
        }
        Ok(!self.events.is_empty())
    }
}

impl Member {
    fn take(
        &mut self,
        index: usize,
        bytes: &[u8],
        handle: &mut impl FnMut(&Received<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let time = clock::now();
        if self.rest.is_empty() {
            let used = read_frames(&mut self.stream, index, bytes, time, handle)?;
            self.rest.extend_from_slice(&bytes[used..]);
        } else {
            self.rest.extend_from_slice(bytes);
            let used = read_frames(&mut self.stream, index, &self.rest, time, handle)?;
            self.rest.drain(..used);
        }
        Ok(())
    }
}

/// Hands out the complete frames; how many bytes they were.
fn read_frames(
    stream: &mut Wire,
    member: usize,
    bytes: &[u8],
    time: u64,
    handle: &mut impl FnMut(&Received<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let mut used = 0;
    while let Some(header) = Header::read(&bytes[used..]) {
        let frame = &bytes[used..used + header.end];
        let payload = &frame[header.start..];
        used += header.end;
        match header.opcode {
            frame::PING => pong(stream, payload)?,
            frame::CLOSE => {
                let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                bail!("connection {member} was closed: {reason}");
            }
            opcode => {
                let is_compressed = header.is_compressed;
                handle(&Received { member, opcode, is_compressed, payload, frame, time })?;
            }
        }
    }
    Ok(used)
}

/// A pong is a few bytes to a socket that nothing else writes to, so it fits at once.
fn pong(stream: &mut Wire, payload: &[u8]) -> anyhow::Result<()> {
    let mut out = Vec::new();
    frame::write_masked(&mut out, frame::PONG, payload);
    stream.write_all(&out).and_then(|()| stream.flush()).context("cannot answer a ping")
}
