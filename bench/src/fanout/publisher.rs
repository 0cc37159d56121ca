//! The one who publishes: at a pace, or as fast as the server takes it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, poll};

use crate::client::Connection;
use crate::clock;
use crate::data::Stamp;
use crate::frame::{self, Header};

/// Frames made at once when flooding, in bytes: few, so that their time is that of sending.
const CHUNK_BYTES: usize = 8 * 1024;
const READ_BYTES: usize = 64 * 1024;
/// Longest wait before looking whether to stop.
const TURN: Duration = Duration::from_secs(1);
/// Without any progress for so many turns, the server is stuck.
const PATIENCE: u32 = 20;

/// How fast to publish.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// One message each time that this much has passed.
    Every(Duration),
    /// Whenever the socket takes more.
    AsFastAsTaken,
}

/// A connection that publishes.
#[derive(Debug)]
pub(super) struct Publisher {
    stream: TcpStream,
    /// Whether the server wants `publish` messages, and answers them.
    speaks_rejoin: bool,
    /// Frames that the socket has not taken.
    unsent: Vec<u8>,
    /// Bytes of answers that are not a complete frame.
    unread: Vec<u8>,
    /// The number of the next message.
    number: u64,
}

impl Publisher {
    pub(super) fn new(connection: Connection, speaks_rejoin: bool) -> anyhow::Result<Self> {
        let (stream, unread) = connection.into_parts();
        stream.set_nonblocking(true)?;
        Ok(Self { stream, speaks_rejoin, unsent: Vec::new(), unread, number: 0 })
    }

    /// Sends so many messages and waits for their answers, or until it is to stop.
    pub(super) fn publish(
        &mut self,
        pace: Pace,
        messages: u64,
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        let end = self.number + messages;
        let mut unanswered = if self.speaks_rejoin { messages } else { 0 };
        let mut due = clock::now();
        let mut idle_turns = 0;
        while self.number < end || !self.unsent.is_empty() || unanswered > 0 {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let before = (self.number, self.unsent.len(), unanswered);
            let wait = self.fill(pace, end, &mut due);
            self.send()?;
            let more = matches!(pace, Pace::AsFastAsTaken) && self.number < end;
            self.wait(wait, more || !self.unsent.is_empty())?;
            unanswered = unanswered.saturating_sub(self.read_answers()?);
            let stuck = before == (self.number, self.unsent.len(), unanswered);
            idle_turns = if stuck && wait == TURN { idle_turns + 1 } else { 0 };
            if idle_turns == PATIENCE {
                bail!("{unanswered} published messages were never answered");
            }
        }
        Ok(())
    }

    /// Makes the frames that are due; for how long there are no more.
    fn fill(&mut self, pace: Pace, end: u64, due: &mut u64) -> Duration {
        if self.number == end {
            return TURN;
        }
        match pace {
            Pace::AsFastAsTaken => {
                while self.number < end && self.unsent.len() < CHUNK_BYTES {
                    self.push();
                }
                TURN
            }
            Pace::Every(interval) => {
                if clock::now() >= *due {
                    self.push();
                    *due += u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
                }
                Duration::from_nanos(due.saturating_sub(clock::now())).min(TURN)
            }
        }
    }

    fn push(&mut self) {
        let data = Stamp { time: clock::now(), number: self.number }.write();
        if self.speaks_rejoin {
            let id = self.number;
            let mut message =
                format!(r#"{{"id":"{id}","type":"publish","payload":{{"topic":"bench","data":""#)
                    .into_bytes();
            message.extend_from_slice(&data);
            message.extend_from_slice(br#""}}"#);
            frame::write_masked(&mut self.unsent, frame::TEXT, &message);
        } else {
            frame::write_masked(&mut self.unsent, frame::TEXT, &data);
        }
        self.number += 1;
    }

    fn send(&mut self) -> anyhow::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.unsent) {
            Ok(count) => {
                self.unsent.drain(..count);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error).context("cannot publish"),
        }
    }

    fn wait(&self, timeout: Duration, to_send: bool) -> anyhow::Result<()> {
        let out = if to_send { PollFlags::OUT } else { PollFlags::empty() };
        let mut fds = [PollFd::new(&self.stream, PollFlags::IN | out)];
        match poll(&mut fds, Some(&clock::timespec(timeout))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what has been answered; how many messages that were.
    fn read_answers(&mut self) -> anyhow::Result<u64> {
        let mut bytes = [0; READ_BYTES];
        match self.stream.read(&mut bytes) {
            Ok(0) => bail!("the server closed the publisher's connection"),
            Ok(count) => self.unread.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error).context("cannot read the publisher's answers"),
        }
        let mut used = 0;
        let mut answers = 0;
        while let Some(header) = Header::read(&self.unread[used..]) {
            let payload = &self.unread[used + header.start..used + header.end];
            used += header.end;
            match header.opcode {
                frame::TEXT if is_of_type(payload, "ack") => answers += 1,
                frame::PING => frame::write_masked(&mut self.unsent, frame::PONG, payload),
                frame::TEXT if !is_of_type(payload, "error") => {}
                _ => bail!("the publisher was told: {}", String::from_utf8_lossy(payload)),
            }
        }
        self.unread.drain(..used);
        Ok(answers)
    }
}

fn is_of_type(payload: &[u8], name: &str) -> bool {
    let wanted = format!(r#""type":"{name}""#);
    payload.windows(wanted.len()).any(|window| window == wanted.as_bytes())
}
