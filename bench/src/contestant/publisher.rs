//! The connection that publishes: at a pace, or as fast as the server takes it.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use rustix::event::{PollFd, PollFlags, poll};

use crate::clock;
use crate::data::Stamp;
use crate::frame::{self, Header};
use crate::server::Server;
use crate::topics::Topics;
use crate::wire::Wire;

/// Frames made at once when flooding, in bytes: few, so that their time is that of sending.
const CHUNK_BYTES: usize = 8 * 1024;
const READ_BYTES: usize = 64 * 1024;
/// Longest wait before looking whether to stop.
const TURN: Duration = Duration::from_secs(1);
/// Without any progress for so many turns, the server is stuck.
const PATIENCE: u32 = 20;

/// The rate of publishing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// One message each time that this much has passed.
    Every(Duration),
    /// Whenever the socket takes more.
    AsFastAsTaken,
}

/// A connection that publishes.
#[derive(Debug)]
pub(super) struct Publisher {
    stream: Wire,
    topics: Topics,
    /// True if the server takes `publish` messages. The bare loop takes the data only.
    speaks_rejoin: bool,
    /// True if the server answers each message.
    is_answered: bool,
    /// The times at which the unanswered messages were made, oldest first.
    unanswered: VecDeque<u64>,
    last_ack: Vec<u8>,
    /// Frames that the socket has not taken.
    unsent: Vec<u8>,
    /// Bytes of answers that are not a complete frame.
    unread: Vec<u8>,
    /// The number of the next message.
    number: u64,
}

impl Publisher {
    pub(super) fn new(server: &Server, topics: Topics) -> anyhow::Result<Self> {
        let (stream, unread) = server.publisher()?.into_parts();
        stream.set_nonblocking()?;
        Ok(Self {
            stream,
            topics,
            speaks_rejoin: server.speaks_rejoin(),
            is_answered: server.acknowledges(),
            unanswered: VecDeque::new(),
            last_ack: Vec::new(),
            unsent: Vec::new(),
            unread,
            number: 0,
        })
    }

    /// Returns the last answer to a message.
    pub(super) fn last_ack(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.last_ack).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// Sends this many messages and waits for their answers, or until `stop` is set.
    pub(super) fn publish(
        &mut self,
        pace: Pace,
        messages: u64,
        stop: &AtomicBool,
        acks: &mut Histogram<u64>,
    ) -> anyhow::Result<()> {
        let end = self.number + messages;
        let mut due = clock::now();
        let mut idle_turns = 0;
        while self.number < end || self.has_unsent() || !self.unanswered.is_empty() {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let before = (self.number, self.unsent.len(), self.unanswered.len());
            let wait = self.fill(pace, end, &mut due);
            self.send()?;
            let more = matches!(pace, Pace::AsFastAsTaken) && self.number < end;
            self.wait(wait, more || self.has_unsent())?;
            self.read_answers(acks)?;
            let stuck = before == (self.number, self.unsent.len(), self.unanswered.len());
            idle_turns = if stuck && wait == TURN { idle_turns + 1 } else { 0 };
            if idle_turns == PATIENCE {
                bail!("{} published messages were never answered", self.unanswered.len());
            }
        }
        Ok(())
    }

    fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.stream.wants_write()
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
        let time = clock::now();
        let data = Stamp { time, number: self.number }.write();
        let topic = self.topics.topic_of(self.number);
        let mut message = if self.speaks_rejoin {
            let (id, name) = (self.number, self.topics.name(topic));
            format!(r#"{{"id":"{id}","type":"publish","payload":{{"topic":"{name}","data":""#)
        } else {
            self.topics.tag(topic)
        }
        .into_bytes();
        message.extend_from_slice(&data);
        if self.speaks_rejoin {
            message.extend_from_slice(br#""}}"#);
        }
        frame::write_masked(&mut self.unsent, frame::TEXT, &message);
        if self.is_answered {
            self.unanswered.push_back(time);
        }
        self.number += 1;
    }

    fn send(&mut self) -> anyhow::Result<()> {
        let result = match self.unsent.is_empty() {
            true => self.stream.flush().map(|()| 0),
            false => self.stream.write(&self.unsent),
        };
        match result {
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

    /// Reads answers and records how long they took.
    fn read_answers(&mut self, acks: &mut Histogram<u64>) -> anyhow::Result<()> {
        let mut bytes = [0; READ_BYTES];
        match self.stream.read(&mut bytes) {
            Ok(0) => bail!("the server closed the publisher's connection"),
            Ok(count) => self.unread.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("cannot read the publisher's answers"),
        }
        let now = clock::now();
        let mut used = 0;
        while let Some(header) = Header::read(&self.unread[used..]) {
            let payload = &self.unread[used + header.start..used + header.end];
            used += header.end;
            match header.opcode {
                frame::TEXT if is_of_type(payload, "ack") => {
                    let Some(time) = self.unanswered.pop_front() else {
                        bail!("more answers than published messages");
                    };
                    acks.saturating_record(now.saturating_sub(time));
                    self.last_ack.clear();
                    self.last_ack.extend_from_slice(payload);
                }
                frame::PING => frame::write_masked(&mut self.unsent, frame::PONG, payload),
                frame::TEXT if !is_of_type(payload, "error") => {}
                _ => bail!("the publisher was told: {}", String::from_utf8_lossy(payload)),
            }
        }
        self.unread.drain(..used);
        Ok(())
    }
}

fn is_of_type(payload: &[u8], name: &str) -> bool {
    let wanted = format!(r#""type":"{name}""#);
    payload.windows(wanted.len()).any(|window| window == wanted.as_bytes())
}
