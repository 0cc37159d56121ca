//! The notifications that streams and outboxes send to the I/O threads.

use std::fmt;

use rejoin_protocol::StreamNumber;

/// Notifies the thread that writes to sockets. No method may block.
pub trait Wake: fmt::Debug + Send + Sync {
    /// Reports that a followed stream has frames that were not taken.
    ///
    /// Called with the stream locked: the implementation must not call the stream.
    fn stream_advanced(&self, stream: StreamNumber);

    /// Reports that the outbox in this slot has items that were not taken.
    fn outbox_filled(&self, slot: usize);
}
