//! The write side of one connection.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
};

use bytes::{Buf, Bytes};
use rejoin_core::{Frame, FrameEncoding};

use crate::{shard::form, transport::Transport};

/// Pending messages that are laid side by side for one write, in bytes.
const GATHER_BYTES: usize = 64 * 1024;

/// A socket and the bytes that it must take before anything else.
///
/// A broadcast looks at each of many outputs. All that it looks at lies on one cache line: a
/// second line for each costs a tenth of a delivery.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Output {
    transport: Transport,
    /// Messages, the first of them perhaps cut.
    pending: VecDeque<Bytes>,
    form: FrameEncoding,
    /// The socket takes nothing; an event says when it does again.
    blocked: bool,
    /// The close frame is pending, or sent: nothing follows it.
    sealed: bool,
    /// The socket takes bytes again after it was blocked: a reader that only wants the latest
    /// frame skips to it.
    late: bool,
}

const _: () = assert!(size_of::<Output>() <= 64, "a broadcast looks at one cache line");

impl Output {
    pub(super) fn new(transport: Transport, form: FrameEncoding) -> Self {
        Self {
            transport,
            pending: VecDeque::new(),
            form,
            blocked: false,
            sealed: false,
            late: false,
        }
    }

    pub(super) fn transport(&mut self) -> &mut Transport {
        &mut self.transport
    }

    pub(super) fn into_transport(self) -> Transport {
        self.transport
    }

    pub(super) fn form(&self) -> FrameEncoding {
        self.form
    }

    pub(super) fn set_form(&mut self, form: FrameEncoding) {
        self.form = form;
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether the close frame is pending, or sent.
    pub(super) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Whether all that was pushed has been sent.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && !self.blocked
    }

    /// Bytes that wait for the socket.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.iter().map(Bytes::len).sum()
    }

    /// Whether frames may be written straight to the socket.
    pub(super) fn is_clear(&self) -> bool {
        !self.blocked && !self.sealed && self.pending.is_empty()
    }

    /// Whether frames may be appended to what is pending, to be sent with it.
    pub(super) fn is_open(&self) -> bool {
        !self.blocked && !self.sealed
    }

    /// The socket takes bytes again.
    pub(super) fn unblock(&mut self) {
        self.late |= std::mem::take(&mut self.blocked);
    }

    /// Whether TLS holds bytes that the socket has not taken.
    pub(super) fn has_unsent(&self) -> bool {
        self.transport.has_unsent()
    }

    /// Whether the socket was blocked, and takes bytes again.
    pub(super) fn has_late(&self) -> bool {
        self.late
    }

    /// Whether the socket was blocked since the last call.
    pub(super) fn take_late(&mut self) -> bool {
        std::mem::take(&mut self.late)
    }

    /// Appends a message that is for this connection alone.
    pub(super) fn push(&mut self, message: Bytes) {
        self.pending.extend(form::of_reply(message, self.form));
    }

    /// Appends a control frame of the WebSocket, in every encoding as it is.
    pub(super) fn push_control(&mut self, frame: Bytes) {
        self.pending.push_back(frame);
    }

    /// Appends frames, in the form that the connection reads.
    pub(super) fn push_frames(&mut self, frames: &[Frame]) {
        let bytes = frames.iter().map(|frame| form::of(frame, self.form));
        self.pending.extend(bytes.filter(|bytes| !bytes.is_empty()).cloned());
    }

    /// Appends the rest of a message that was cut.
    pub(super) fn push_rest(&mut self, rest: Option<Bytes>) {
        self.pending.extend(rest);
    }

    /// Appends the last message and the close frame, if any; nothing follows them.
    pub(super) fn seal(&mut self, last: Option<Bytes>, close: Option<Bytes>) {
        if let Some(last) = last {
            self.push(last);
        }
        self.pending.extend(close);
        self.sealed = true;
    }

    /// Writes bytes past what is pending, which must be nothing; returns how many the socket took.
    /// Fewer than all means that it is blocked.
    ///
    /// # Errors
    /// If the socket is broken.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.transport.send(&bytes[written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Writes what is pending, many messages in one write; returns how many bytes the socket took.
    ///
    /// # Errors
    /// If the socket is broken.
    pub(super) fn flush(&mut self, scratch: &mut Vec<u8>) -> io::Result<usize> {
        let mut taken = 0;
        while !self.blocked && !self.pending.is_empty() {
            taken += self.flush_some(scratch)?;
        }
        if !self.blocked && !self.transport.flush()? {
            self.blocked = true;
        }
        if self.pending.is_empty() {
            // An idle connection holds no buffer.
            self.pending = VecDeque::new();
        }
        Ok(taken)
    }

    fn flush_some(&mut self, scratch: &mut Vec<u8>) -> io::Result<usize> {
        let mut pending = self.pending.iter();
        let Some(first) = pending.next() else { return Ok(0) };
        let is_alone = pending.next().is_none_or(|next| first.len() + next.len() > GATHER_BYTES);
        let mut written = if is_alone {
            // Taken out while it is written, which is cheaper than another handle to it.
            let first = self.pending.pop_front().unwrap_or_default();
            let written = self.write(&first);
            self.pending.push_front(first);
            written?
        } else {
            scratch.clear();
            for message in &self.pending {
                if scratch.len() + message.len() > GATHER_BYTES {
                    break;
                }
                scratch.extend_from_slice(message);
            }
            self.write(scratch)?
        };
        let total = written;
        while let Some(message) = self.pending.front_mut() {
            if written < message.len() {
                message.advance(written);
                break;
            }
            written -= message.len();
            self.pending.pop_front();
        }
        Ok(total)
    }

    /// Loads what a broadcast looks at into the processor's cache.
    pub(super) fn prefetch(&self) {
        std::hint::black_box((self.sealed, self.transport.number()));
    }
}
