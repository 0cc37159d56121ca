//! The write side of one connection.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
};

use bytes::{Buf, Bytes};
use rejoin_core::{Frame, FrameEncoding};

use crate::{shard::transcode, transport::Transport};

/// The maximum size of pending messages that are joined into one write, in bytes.
const GATHER_BYTES: usize = 64 * 1024;

/// A socket and its pending output.
///
/// A broadcast accesses many outputs. All fields share one cache line, because a second one per
/// output would make each delivery a tenth more expensive.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Output {
    transport: Transport,
    /// Messages to send before anything else. The first may be the rest of a message that was cut.
    pending: VecDeque<Bytes>,
    encoding: FrameEncoding,
    /// The socket is full. The poll reports when it becomes writable again.
    blocked: bool,
    /// The close frame is pending or sent. Nothing may follow it.
    sealed: bool,
    /// The socket was blocked and is writable again. Readers of `latest` topics then skip frames.
    was_blocked: bool,
}

const _: () = assert!(size_of::<Output>() <= 64, "an output must fit one cache line");

impl Output {
    pub(super) fn new(transport: Transport, encoding: FrameEncoding) -> Self {
        Self {
            transport,
            pending: VecDeque::new(),
            encoding,
            blocked: false,
            sealed: false,
            was_blocked: false,
        }
    }

    pub(super) fn transport(&mut self) -> &mut Transport {
        &mut self.transport
    }

    pub(super) fn into_transport(self) -> Transport {
        self.transport
    }

    pub(super) fn encoding(&self) -> FrameEncoding {
        self.encoding
    }

    pub(super) fn set_encoding(&mut self, encoding: FrameEncoding) {
        self.encoding = encoding;
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Returns `true` if the close frame is pending or sent.
    pub(super) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Returns `true` if all pushed messages are sent.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && !self.blocked
    }

    /// Returns the number of pending bytes.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.iter().map(Bytes::len).sum()
    }

    /// Returns `true` if any part of these frames is pending.
    pub(super) fn holds(&self, frames: &[Frame]) -> bool {
        self.pending.iter().any(|bytes| frames.iter().any(|frame| frame.contains(bytes)))
    }

    /// Returns `true` if frames may be written straight to the socket.
    pub(super) fn is_clear(&self) -> bool {
        !self.blocked && !self.sealed && self.pending.is_empty()
    }

    /// Returns `true` if frames may be appended to the pending messages.
    pub(super) fn is_open(&self) -> bool {
        !self.blocked && !self.sealed
    }

    /// Records that the socket is writable again.
    pub(super) fn unblock(&mut self) {
        self.was_blocked |= std::mem::take(&mut self.blocked);
    }

    /// Returns `true` if TLS holds bytes that the socket has not taken.
    pub(super) fn has_unsent(&self) -> bool {
        self.transport.has_unsent()
    }

    /// Returns `true` if the socket was blocked since the last [`take_was_blocked`].
    ///
    /// [`take_was_blocked`]: Self::take_was_blocked
    pub(super) fn was_blocked(&self) -> bool {
        self.was_blocked
    }

    /// Returns `true` if the socket was blocked since the last call.
    pub(super) fn take_was_blocked(&mut self) -> bool {
        std::mem::take(&mut self.was_blocked)
    }

    /// Appends a message for this connection alone.
    pub(super) fn push(&mut self, message: Bytes) {
        self.pending.extend(transcode::reply(message, self.encoding));
    }

    /// Appends a WebSocket control frame, which is the same in every encoding.
    pub(super) fn push_control(&mut self, frame: Bytes) {
        self.pending.push_back(frame);
    }

    /// Appends frames in the encoding of this connection.
    pub(super) fn push_frames(&mut self, frames: &[Frame]) {
        let bytes = frames.iter().map(|frame| transcode::frame(frame, self.encoding));
        // A frame is empty in an encoding that leaves it out.
        self.pending.extend(bytes.filter(|bytes| !bytes.is_empty()).cloned());
    }

    /// Appends the rest of a message that was cut.
    pub(super) fn push_rest(&mut self, rest: Option<Bytes>) {
        self.pending.extend(rest);
    }

    /// Appends the last message and the close frame, if any. Nothing can be appended afterwards.
    pub(super) fn seal(&mut self, last: Option<Bytes>, close: Option<Bytes>) {
        // Precedes the close frame, which no data may follow (RFC 6455 §5.5.1).
        if let Some(last) = last {
            self.push(last);
        }
        self.pending.extend(close);
        self.sealed = true;
    }

    /// Writes bytes straight to the socket. Returns the number of bytes that the socket took.
    ///
    /// No message may be pending. A count below the length means that the socket is blocked.
    ///
    /// # Errors
    /// If the socket is broken.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.transport.send(&bytes[written..]) {
                // Otherwise a socket that accepts no byte would keep the shard in this loop.
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

    /// Writes the pending messages, joining many into each write. Returns the number of bytes
    /// written.
    ///
    /// # Errors
    /// If the socket is broken.
    pub(super) fn flush(&mut self, scratch: &mut Vec<u8>) -> io::Result<usize> {
        let mut taken = 0;
        while !self.blocked && !self.pending.is_empty() {
            taken += self.flush_some(scratch)?;
        }
        // A TLS session may still hold records of messages that it has accepted.
        if !self.blocked && !self.transport.flush()? {
            self.blocked = true;
        }
        if self.pending.is_empty() {
            // Frees the memory: an idle connection holds no buffer.
            self.pending = VecDeque::new();
        }

        Ok(taken)
    }

    /// Sends one or more pending messages in one write. Returns the number of bytes written.
    fn flush_some(&mut self, scratch: &mut Vec<u8>) -> io::Result<usize> {
        let mut pending = self.pending.iter();
        let Some(first) = pending.next() else { return Ok(0) };

        // A copy only pays off if it joins messages and thereby saves a system call.
        let is_alone = pending.next().is_none_or(|next| first.len() + next.len() > GATHER_BYTES);
        let mut written = if is_alone {
            // Moved out during the write to satisfy the borrow checker. A clone would cost more.
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

        // Removes the bytes that were written. The rest of a message that was cut stays.
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

    /// Loads the output and the socket's descriptor into the processor's cache.
    pub(super) fn prefetch(&self) {
        std::hint::black_box((self.sealed, self.transport.raw_fd()));
    }
}
