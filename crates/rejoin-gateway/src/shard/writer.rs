//! The write side of one socket.

use std::{collections::VecDeque, io, sync::Arc};

use bytes::{Buf, Bytes};
use rejoin_core::{Form, Frame, Goodbye, Outbox};
use rejoin_protocol::StreamNumber;

use crate::{
    net::WriteHalf,
    shard::{Arrival, form, watch::Watch},
};

/// A socket's write side and what it must take before anything else.
///
/// What a broadcast looks at stands first, on one cache line: it looks at each of many writers,
/// and a second line for each costs a tenth of a delivery.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Writer {
    pub(super) socket: Arc<WriteHalf>,
    /// What goes out first: the rest of a cut message, a snapshot.
    pub(super) pending: VecDeque<Bytes>,
    /// How frames look to it.
    pub(super) form: Form,
    /// The socket would block; an event tells when it does no more.
    pub(super) blocked: bool,
    /// The goodbye is pending, or out: nothing comes after it.
    pub(super) closing: bool,
    /// The socket would block, and takes something again: who reads the latest only skips to it.
    pub(super) late: bool,
    /// It waits for another turn, and is in the list of those who do.
    pub(super) queued: bool,
    /// A time-out ends it if the peer does not take its last messages.
    pub(super) hurried: bool,
    pub(super) outbox: Arc<Outbox>,
    /// Tells a slot's connections apart: an event for an earlier one is ignored.
    pub(super) generation: u64,
    /// It is to be closed, when what is for it has gone out.
    pub(super) goodbye: Option<Box<Goodbye>>,
    /// Once it is authenticated.
    pub(super) watch: Option<Watch>,
    /// The tick of its alarm.
    pub(super) alarm: Option<u64>,
    /// The streams that it reads, and where its reader stands among a stream's.
    pub(super) reads: Vec<(StreamNumber, usize)>,
}

const _: () = assert!(std::mem::offset_of!(Writer, late) <= 64, "a broadcast looks at one line");

impl Writer {
    pub(super) fn new(arrival: Arrival, generation: u64) -> Self {
        Self {
            socket: Arc::new(arrival.socket),
            outbox: arrival.outbox,
            form: arrival.form,
            generation,
            pending: VecDeque::new(),
            blocked: false,
            late: false,
            queued: false,
            goodbye: None,
            closing: false,
            hurried: false,
            watch: None,
            alarm: None,
            reads: Vec::new(),
        }
    }

    /// Whether frames may go straight to the socket.
    pub(super) fn is_clear(&self) -> bool {
        !self.blocked && self.pending.is_empty() && !self.closing
    }

    /// Owes the socket frames, in its form: they go out before any stream is read.
    pub(super) fn put(&mut self, frames: &[Frame]) {
        let bytes = frames.iter().map(|frame| form::of(frame, self.form).clone());
        self.pending.extend(bytes.filter(|bytes| !bytes.is_empty()));
    }

    /// Where its reader of a stream stands.
    pub(super) fn place(&self, stream: StreamNumber) -> Option<usize> {
        let read = self.reads.iter().find(|(number, _)| *number == stream);
        read.map(|(_, place)| *place)
    }

    /// Notes that its reader of a stream stands elsewhere.
    pub(super) fn move_to(&mut self, stream: StreamNumber, place: usize) {
        if let Some(read) = self.reads.iter_mut().find(|(number, _)| *number == stream) {
            read.1 = place;
        }
    }

    /// Writes what the socket takes; returns how many bytes it took, and is `blocked` if not all.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.socket.send(&bytes[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Writes what is pending, as far as the socket takes it; returns how many bytes it took.
    pub(super) fn write_pending(&mut self) -> io::Result<usize> {
        let mut taken = 0;
        while !self.blocked
            && let Some(mut bytes) = self.pending.pop_front()
        {
            let written = self.write(&bytes)?;
            taken += written;
            bytes.advance(written);
            if !bytes.is_empty() {
                self.pending.push_front(bytes);
            }
        }
        if self.pending.is_empty() {
            // An idle connection holds no buffer.
            self.pending = VecDeque::new();
        }
        Ok(taken)
    }
}
